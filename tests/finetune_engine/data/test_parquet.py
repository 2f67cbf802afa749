"""Parquet files: values become what JSON would hold, and a broken file is one clear sentence."""

from __future__ import annotations

import datetime
import gzip
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune_engine.data.detection import detect_format
from finetune_engine.data.readers import open_records, sniff
from finetune_engine.errors import UserError
from tests.finetune_engine.data.made_files import letters, values

TURNS = [{"role": "user", "content": "Where do foxes sleep"}, {"role": "assistant", "content": "In a den."}]


def table(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = letters(600)[1:]
    return table(tmp_path / "letters.parquet", text=[r[0] for r in rows], label=[r[1] for r in rows])


def test_a_table_is_read_row_by_row(file):
    opened = open_records(file)
    assert (opened.shown_type, opened.layout.columns) == ("parquet", ("text", "label"))
    records = list(opened.records())
    assert [r.row for r in records] == list(range(1, 601))
    assert records[0].value == {"text": "letter number 0 about a parcel", "label": "a"}
    assert records[0].line is None
    assert opened.bytes.consumed == file.stat().st_size


def test_nested_columns_become_lists_and_objects_without_the_fields_that_are_not_there(tmp_path):
    call = {"role": "assistant", "content": None, "name": "f"}
    path = table(tmp_path / "a.parquet", messages=[TURNS, [TURNS[0], call]])
    assert values(path) == [{"messages": TURNS}, {"messages": [TURNS[0], {"role": "assistant", "name": "f"}]}]


def test_nested_conversations_are_recognised(tmp_path):
    opened = open_records(table(tmp_path / "a.parquet", messages=[TURNS] * 3, source=["a", "b", "c"]))
    sample = opened.sample(10)
    detected = detect_format(sample, name="a.parquet")
    assert detected is not None
    draft = detected.convert(sample[0].value)
    assert (detected.format.name, draft.messages, draft.metadata) == ("messages", TURNS, {"source": "a"})


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (7, 7),
        (1.5, 1.5),
        (float("nan"), None),
        (Decimal("12.00"), 12),
        (Decimal("12.5"), 12.5),
        (True, True),
        (None, None),
        (b"plain", "plain"),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (datetime.datetime(2020, 1, 2, 3, 4), "2020-01-02T03:04:00"),
        ([1, 2], [1, 2]),
        ({"a": 1, "b": None}, {"a": 1}),
    ],
)
def test_a_value_is_what_json_would_hold(tmp_path, cell, value):
    assert values(table(tmp_path / "a.parquet", text=["x"], cell=[cell])) == [{"text": "x", "cell": value}]


def test_a_map_becomes_an_object(tmp_path):
    kind = pa.map_(pa.string(), pa.int64())
    path = table(tmp_path / "a.parquet", text=["x"], counts=pa.array([[("a", 1), ("b", 2)]], kind))
    assert values(path)[0] == {"text": "x", "counts": {"a": 1, "b": 2}}


def test_bytes_that_are_no_text_are_left_out_and_said(tmp_path):
    path = table(tmp_path / "a.parquet", text=["x"], image=[b"\x89PNG\xff"])
    (record,) = open_records(path).records()
    assert record.value == {"text": "x", "image": None}
    assert record.findings[0].placed(1).message == (
        "Row 1 has bytes that are not text in “image”; they were left out. "
        "Write the column as text (UTF-8), or leave it out."
    )


def test_a_gzipped_file_is_read(file, tmp_path):
    packed = tmp_path / "a.parquet.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert len(values(packed)) == 600


def test_a_file_called_csv_is_read_and_said(file, tmp_path):
    opened = open_records(file.rename(tmp_path / "a.csv"))
    assert opened.notes[0]["message"] == "a.csv is called .csv but holds a Parquet file. It was read as what it holds."


def test_the_preview_shows_columns_and_rows(file):
    preview = sniff(file)
    assert (preview.format, preview.file_type, preview.columns, len(preview.rows)) == (
        "text_label",
        "parquet",
        ["text", "label"],
        20,
    )


DAMAGED = "letters.parquet is a Parquet file that is damaged or cut short. Export or copy it again."


@pytest.mark.parametrize("keep", [0.001, 0.3, 0.7, 0.99])
def test_a_file_cut_short_says_so(file, keep):
    data = file.read_bytes()
    file.write_bytes(data[: max(int(len(data) * keep), 4)])
    with pytest.raises(UserError) as refused:
        open_records(file)
    assert (refused.value.code, refused.value.sentence) == ("unsupported_file", DAMAGED)


def test_a_footer_that_lies_about_its_length_says_so(file):
    data = bytearray(file.read_bytes())
    data[-8:-4] = (0x7FFFFFFF).to_bytes(4, "little")
    file.write_bytes(data)
    with pytest.raises(UserError, match="damaged or cut short"):
        open_records(file)


def test_pages_that_do_not_hold_what_the_footer_says_are_noticed(file):
    data = bytearray(file.read_bytes())
    data[20:2000] = b"\xff" * 1980
    file.write_bytes(data)
    with pytest.raises(UserError) as refused:
        list(open_records(file).records())
    assert refused.value.sentence == DAMAGED


def test_a_file_without_rows_says_so(tmp_path):
    with pytest.raises(UserError) as refused:
        open_records(table(tmp_path / "a.parquet", text=pa.array([], pa.string()), label=pa.array([], pa.string())))
    assert (refused.value.code, refused.value.sentence) == (
        "header_only",
        "a.parquet has columns (text, label) and no rows. Add one example per row.",
    )


def test_a_file_without_text_columns_names_the_columns(tmp_path):
    preview = sniff(table(tmp_path / "a.parquet", width=[1, 2], height=[3, 4]))
    assert preview.problem_code == "wrong_columns"
    assert preview.problem == (
        "a.parquet has the columns width, height, and none of them is known as an input with an answer. "
        "Name them prompt and completion, or text and label, or choose the columns yourself."
    )


_IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
import pyarrow.parquet
from finetune_engine.data.readers import open_records
from finetune_engine.errors import UserError
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + int(sys.argv[2]), held + int(sys.argv[2])))
try:
    for number, record in enumerate(open_records(Path(sys.argv[1])).records(), 1):
        if number > 100:
            break
    print("read")
except UserError as error:
    print(error.sentence)
"""


def read_in_little_memory(path: Path, size: int) -> str:
    """What reading comes to where only ``size`` bytes may be added to the process."""
    command = [sys.executable, "-c", _IN_LITTLE_MEMORY, str(path), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.stderr == ""
    return done.stdout.strip()


def test_a_long_text_repeated_in_every_row_is_read_in_bounded_memory(tmp_path):
    path = tmp_path / "a.parquet"
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * (1 << 20)]))
    pq.write_table(pa.table({"text": column}), path)
    assert path.stat().st_size < 2 << 20
    assert read_in_little_memory(path, 512 << 20) == "read"


def test_a_page_that_fills_the_memory_is_refused_in_words(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x" * (128 << 20)]}), path, compression="zstd")
    assert path.stat().st_size < 1 << 20
    assert read_in_little_memory(path, 160 << 20) == (
        "a.parquet is a Parquet file that unpacks to more than the memory can hold, so it was not read. "
        "Export it as JSON lines and upload that."
    )
