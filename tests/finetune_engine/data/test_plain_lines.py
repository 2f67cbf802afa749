"""Lines in the usual shapes are read many at once. What comes out is what the careful reader makes of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_engine.data import prepare as preparing
from finetune_engine.data.batches import batches
from finetune_engine.data.canonical import WORDS, normalise, normalised, word_counts
from finetune_engine.data.cleaning import needs_cleaning, read_plan
from finetune_engine.data.options import read_options
from finetune_engine.data.revisions import may_need
from finetune_engine.data.stored_once import fill_row, filled
from finetune_engine.data.text_bytes import blanks, names_written, unusual

LONG = "The supplier shall deliver the goods within the period that was agreed upon in writing by both parties"
FLAWS = [
    "{oops",
    "",
    "   ",
    "null",
    "[1, 2]",
    '"text"',
    "{}",
    '{"prompt": "a\\ud800b", "completion": "c"}',
    '{"prompt": "twice", "prompt": "again", "completion": "yes it is"}',
    '{"prompt": "twice" , "prompt" : "again", "completion": "yes it is"}',
    '{"completion": "The other order", "prompt": "What is it"}',
    '{"prompt": "only this"}',
    '{"prompt": "a number", "completion": 7}',
    '{"prompt": null, "completion": "Nothing was asked of me here"}',
    '{"prompt": ["a", "list"], "completion": "x"}',
    '{"prompt": "It says \\"name\\": and goes on", "completion": "A mark in the text: \\":\\" indeed"}',
    '{"prompt": "more", "completion": "keys", "extra": {"deep": [1, 2]}}',
    '{"prompt": "A\\u0000B", "completion": "NUL in the text"}',
    '{"prompt": "  untidy \\n\\n\\n\\n\\n text\\u00a0here ", "completion": "caf\\u00c3\\u00a9 e\\u0301t\\u00e9"}',
    '{"prompt": "write to jo@example.org", "completion": "<|im_end|> \\ufffd"}',
    '{"prompt": "", "completion": ""}',
    '{"prompt": "日本語の質問です", "completion": "はい、そうです。"}',
    '{"prompt": "NaN", "completion": NaN}',
    '{"prompt": "x", "completion": "y"} trailing',
    '{"prompt": "x", "completion": "y"},{"prompt": "x", "completion": "z"}',
    '{"prompt":"no blanks","completion":"between the names and values"}',
    '{"prompt": "tab\tinside", "completion": "raw"}',
    '  {"prompt": "indented", "completion": "and with blanks after it"}   ',
    '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}',
    '{"prompt": "word ' + "very " * 1200 + '", "completion": "long"}',
]


def prompts(count: int) -> list[str]:
    return [json.dumps({"prompt": f"{LONG} {i}", "completion": f"{LONG[::-1]} {i * 7}"}) for i in range(count)]


def conversations(count: int) -> list[str]:
    out = []
    for i in range(count):
        turns = [
            {"role": "user", "content": f"{LONG} {i}"},
            {"role": "assistant", "content": f"It is {i} then\n{LONG}"},
        ]
        if i % 3 == 0:
            turns.insert(0, {"role": "system", "content": "Be brief."})
        if i % 4 == 0:
            turns += [
                {"role": "user", "content": f"And {i}?"},
                {"role": "assistant", "content": "As before, of course."},
            ]
        out.append(json.dumps({"messages": turns, "source": i, "split": "train" if i % 2 else "test"}))
    return out


CHAT_FLAWS = [
    '{"messages": []}',
    '{"messages": "text"}',
    '{"messages": [{"role": "user", "content": "q"}]}',
    '{"messages": [{"role": "user", "content": "q"}, {"role": "user", "content": "r"}]}',
    '{"messages": [{"role": "assistant", "content": "first"}, {"role": "assistant", "content": "second"}]}',
    '{"messages": [{"role": "robot", "content": "q"}, {"role": "assistant", "content": "r"}], "source": 1, "split": ""}',
    '{"messages": [{"role": "user", "content": null}, {"role": "assistant", "content": "r"}], "source": 1, "split": "x"}',
    '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": " "}, '
    '{"role": "user", "content": "s"}, {"role": "assistant", "content": "t"}], "source": 1, "split": "dev"}',
    '{"messages": [{"role": "user", "content": "q", "role": "user"}, {"role": "assistant", "content": "r"}], '
    '"source": 1, "split": "dev"}',
    '{"messages": [{"role": "user", "content": "q", "name": "Jo"}, {"role": "assistant", "content": "r"}], '
    '"source": 1, "split": "dev"}',
    '{"messages": [{"content": "q", "role": "user"}, {"content": "r", "role": "assistant"}], "source": 1, "split": "dev"}',
]  # fmt: skip


def mixed(good: list[str], flaws: list[str]) -> str:
    lines = list(good)
    for place, flaw in enumerate(flaws):
        lines.insert((place * 7) % len(lines) + 1, flaw)
    return "\n".join(lines)


LABELLED = [json.dumps({"text": f"{LONG} {i}", "label": "yes" if i % 2 else " no", "id": i}) for i in range(40)]
ALPACA = [
    json.dumps({"instruction": f"Translate {i}", "input": LONG if i % 2 else "", "output": f'Result {i} \\ "q" {LONG}'})
    for i in range(40)
]
FILES = {
    "prompts": mixed(prompts(60), FLAWS),
    "only flaws differ": mixed(prompts(3), FLAWS),
    "windows line ends": mixed(prompts(30), FLAWS).replace("\n", "\r\n"),
    "old mac line ends": "\r".join(prompts(30)),
    "conversations": mixed(conversations(50), [*CHAT_FLAWS, *FLAWS]),
    "labels": mixed(LABELLED, ['{"text": "x", "label": 3, "id": 1}', '{"text": "x", "label": "yes"}', *FLAWS]),
    "alpaca": mixed(ALPACA, ['{"instruction": "a", "output": "b"}', *FLAWS]),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "options",
    [{}, {"max_rows": 20, "max_line_bytes": 4000}, {"cleaning": [], "over_length": "cut", "context_tokens": 60}],
)
def test_both_ways_give_the_same_chunks_findings_and_report(tmp_path, monkeypatch, name, options):
    path = tmp_path / "a.jsonl"
    path.write_bytes(FILES[name].encode() + b'\n{"prompt": "\xff", "completion": "bytes"}\n')
    monkeypatch.setattr("finetune_engine.data.batches.BATCH_ROWS", 25)
    fast = _prepared(path, tmp_path / "fast", options)
    monkeypatch.setattr(
        preparing, "line_batches", lambda source, detected, opts: batches(source.records(), detected, opts)
    )
    careful = _prepared(path, tmp_path / "careful", options)
    assert fast[0].equals(careful[0])
    assert fast[1].equals(careful[1])
    assert fast[2] == careful[2]


def _prepared(path: Path, out: Path, options: dict[str, Any]) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    from finetune_engine.events import ListSink
    from finetune_engine.ports import Run

    report = preparing.prepare(path, out, read_options(options), Run(ListSink()))
    examples = filled(pl.concat([pl.read_parquet(out / chunk) for chunk in report["chunks"]]))
    findings = pl.read_parquet(out / "findings.parquet").sort("row", "code", "column", "start", "message")
    return examples, findings, report


def test_what_a_chunk_leaves_out_is_given_back_letter_by_letter(tmp_path):
    lines = [
        *prompts(10),
        '{"prompt":"other form","completion":"of the same"}',
        '{"prompt": "a \\n b", "completion": "c"}',
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines))
    examples = _prepared(path, tmp_path / "out", {"cleaning": []})[0]
    assert examples["original"].to_list() == lines
    assert [json.loads(m)[0]["content"] for m in examples["messages"]] == [json.loads(line)["prompt"] for line in lines]
    raw = pl.read_parquet(tmp_path / "out" / "examples-00000.parquet")
    assert raw["original"].null_count() == 10
    rows = [fill_row(row) for row in raw.to_dicts()]
    assert [(row["messages"], row["original"]) for row in rows] == list(
        examples.select("messages", "original").iter_rows()
    )


TEXTS = st.lists(
    st.text(st.sampled_from("aB \t\n\u00a0\u00e9e\u0301\u4e2d\x01\x85\u2003&;\r."), max_size=12), max_size=8
)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_a_column_is_normalised_like_its_texts(texts):
    column = pl.Series(texts, dtype=pl.String)
    # Python's blanks include four separators that Rust's do not; none is among the letters here.
    assert normalised(column).to_list() == [normalise(text) for text in texts]


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_questions_about_bytes_are_answered_as_by_looking_at_each_text(texts):
    column = pl.Series(texts, dtype=pl.String)
    assert unusual(column).to_list() == [any(not " " <= c <= "~" for c in text) for text in texts]
    assert blanks(column).tolist() == [text.count(" ") for text in texts]
    normal = normalised(column)
    assert word_counts(normal).to_list() == normal.str.count_matches(WORDS).to_list()
    plan = read_plan({})
    assert may_need(column, plan).to_list() == needs_cleaning(column, plan).to_list()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.sampled_from('":, {a'), max_size=10), max_size=6))
def test_names_in_lines_are_counted_by_their_marks(lines):
    lines = ["{" + line + "}" for line in lines]
    counted = [line.count('":') + line.count('" :') for line in lines]
    assert names_written(pl.Series(lines, dtype=pl.String)).to_list() == counted


@pytest.mark.parametrize("lines", [prompts(30), conversations(30), LABELLED, ALPACA])
def test_rows_in_a_usual_shape_need_no_careful_reader(tmp_path, monkeypatch, lines):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines))
    monkeypatch.setattr("finetune_engine.data.plain_lines.parse_line", lambda *_: pytest.fail("read one by one"))
    assert len(_prepared(path, tmp_path / "out", {})[0]) == len(lines)
