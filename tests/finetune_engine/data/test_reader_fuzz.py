"""Whatever bytes arrive, the readers answer with records or with a UserError: never another exception, never a hang."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_engine.data.detection import detect_format
from finetune_engine.data.readers import open_records, sniff
from finetune_engine.errors import UserError
from tests.finetune_engine.data.made_files import letters, workbook

_SECONDS = 10
_ROWS = 3000
_REAL = ["sft/alpaca_en_demo.json", "sft/glaive_toolcall_en_demo.json", "sft/toy_chat_fine_tuning.jsonl",
         "sft/dpo_en_demo.json", "dirty/messytables/weird_head_padding.csv", "dirty/messytables/utf-16le_encoded.csv",
         "pii/fake_names_100_bom.csv", "classification/clinc150_domains.json", "formats/list_columns.parquet",
         "formats/alltypes_plain.snappy.parquet", "formats/demo-dataset.parquet", "dirty/messytables/simple.xlsx",
         "dirty/messytables/simple.xls", "legal/Label Report - Document Name.xlsx"]  # fmt: skip
quick = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)


def read_whole(name: str, content: bytes) -> None:
    """All that is done with a file before its rows are checked. Anything but a UserError fails."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload"
        path.write_bytes(content)
        with suppress(UserError):
            sniff(path, name)
        with suppress(UserError):
            records = list(islice(open_records(path, name=name).records(), _ROWS))
            detected = detect_format(records[:100], name=name)
            assert [record.row for record in records] == list(range(1, len(records) + 1)), "a row is missing"
            for record in records:
                assert record.value is not None or record.findings, "a row was dropped without a reason"
                for finding in record.findings:
                    assert finding.placed(record.row, record.line, record.sheet).message
                if record.value is not None and detected is not None:
                    json.dumps(detected.convert(record.value).messages, ensure_ascii=False).encode()
    assert time.monotonic() - begun < _SECONDS


def _rows(count: int = 12) -> list[dict[str, object]]:
    return [{"text": f"letter {i} — “é”", "label": "ab"[i % 2], "n": i} for i in range(count)]


def _chat(count: int = 6) -> list[dict[str, object]]:
    call = {"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    return [
        {
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": [{"type": "text", "text": f"question {i}"}]},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "1", "tool_call_id": "x"},
                {"role": "assistant", "content": "reply", "weight": 1},
            ],
            "tools": [{"type": "function", "function": {"name": "f"}}],
        }
        for i in range(count)
    ]


def _pairs() -> list[dict[str, object]]:
    ask, good = {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}
    return [
        {"conversations": [ask, good, ask], "chosen": good, "rejected": {"from": "gpt", "value": str(i)}}
        for i in range(6)
    ]


@cache
def made() -> dict[str, bytes]:
    """Small whole files of every kind, by name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    lists = {"train": [["a b", "x"], ["c d", "y"]] * 5, "test": [["e", "x"]]}
    table = "text,label\n" + "\n".join(f'"letter {i}, ""quoted""\nand more",{"ab"[i % 2]}' for i in range(12))
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([*_rows(), {"text": "x", "label": None, "n": None}]), parquet)
    nested = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist([{"messages": [{"role": "user", "content": "a"}], "m": {"k": [1.5]}}] * 5), nested
    )
    with tempfile.TemporaryDirectory() as folder:
        sheet = workbook(Path(folder) / "a.xlsx", {"A": letters(6), "B": [["x", 1.5, True]]}).read_bytes()
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in _rows()).encode()
    return {
        "rows.jsonl": lines,
        "chat.jsonl": "\n".join(map(json.dumps, _chat())).encode(),
        "rows.json": json.dumps(_rows(), indent=1, ensure_ascii=False).encode(),
        "pairs.json": json.dumps(_pairs(), indent=2).encode(),
        "lists.json": json.dumps(lists).encode(),
        "table.csv": table.encode(),
        "table.tsv": table.replace(",", "\t").encode("utf-16"),
        "table.csv.gz": gzip.compress(table.encode(), mtime=0),
        "sheet.xlsx": sheet,
        "flat.parquet": parquet.getvalue(),
        "nested.parquet": nested.getvalue(),
    }


_PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"\\", b"\\ud800", b"[" * 1500, b"{" * 1500, b"]", b"}",
                     b",", b"\n", b"\r", b"\t", b";", b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"null", b"\x1f\x8b",
                     b"<c ", b'r="XFD1048576"', b"<!DOCTYPE x>", b"PAR1", b"PK\x03\x04", b"\x85", "\u2028".encode()]),
)  # fmt: skip
_CUTS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), _PIECES), min_size=1, max_size=6)


def mutated(content: bytes, cuts: list[tuple[float, int, bytes]]) -> bytes:
    """``content`` with some stretches replaced by other bytes."""
    for share, length, piece in cuts:
        at = int(share * len(content))
        content = content[:at] + piece + content[at + length :]
    return content


def with_mutated_part(content: bytes, number: int, change: Callable[[bytes], bytes]) -> bytes:
    """A workbook with one of its parts changed and packed again, so that the archive itself is whole."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        names = old.namelist()
        for name in names:
            data = old.read(name)
            new.writestr(name, change(data) if name == names[number % len(names)] else data)
    return out.getvalue()


@quick
@given(st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.tsv", "a.xlsx", "a.parquet", "a.csv.gz", "a", "a.txt"]),
       st.binary(max_size=600))  # fmt: skip
def test_random_bytes_are_read_or_refused(name, content):
    read_whole(name, content)


@quick
@given(st.lists(_PIECES, max_size=12).map(b"".join), st.sampled_from(["a.jsonl", "a.json", "a.csv"]))
def test_pieces_of_markup_are_read_or_refused(content, name):
    read_whole(name, content)


@pytest.mark.parametrize("name", sorted(made()))
@settings(quick, max_examples=25)
@given(_CUTS)
def test_a_damaged_file_is_read_or_refused(name, cuts):
    read_whole(name, mutated(made()[name], cuts))


@settings(quick, max_examples=60)
@given(st.integers(0, 20), _CUTS)
def test_a_workbook_with_a_damaged_part_is_read_or_refused(number, cuts):
    read_whole("a.xlsx", with_mutated_part(made()["sheet.xlsx"], number, lambda data: mutated(data, cuts)))


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_NAMES = st.sampled_from(["messages", "conversations", "prompt", "completion", "chosen", "rejected", "label", "text",
                          "instruction", "input", "output", "history", "system", "split", "preferred_output",
                          "non_preferred_output", "list", "turns"])  # fmt: skip
_TURN = st.dictionaries(
    st.sampled_from(["role", "content", "from", "value", "tool_calls", "function_call", "weight", "name"]),
    st.one_of(st.sampled_from(["user", "assistant", "system", "tool", "human", "gpt", "function_call"]), _JSON),
    max_size=4,
)


@settings(quick, max_examples=150)
@given(st.lists(st.dictionaries(_NAMES, st.one_of(_JSON, _TURN, st.lists(_TURN, max_size=3)), max_size=4), max_size=4),
       st.booleans())  # fmt: skip
def test_rows_of_any_shape_under_known_names_are_read_or_refused(rows, as_list):
    text = json.dumps(rows) if as_list else "\n".join(map(json.dumps, rows))
    read_whole("a.json" if as_list else "a.jsonl", text.encode())


@pytest.mark.parametrize("name", _REAL)
@settings(quick, max_examples=6)
@given(cuts=_CUTS)
def test_a_damaged_real_file_is_read_or_refused(shared_data, name, cuts):
    content = (shared_data / name).read_bytes()[:400_000]
    read_whole(name, mutated(content, cuts))
