"""Several files are one set: rows are counted over all of them, and sentences name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from finetune_engine.data.options import read_options
from finetune_engine.data.prepare import prepare
from finetune_engine.data.snapshot import make_snapshot, read_spec
from finetune_engine.data.stored_once import filled
from finetune_engine.errors import UserError
from finetune_engine.events import ListSink
from finetune_engine.ports import Run

ANSWER = "We will look into the matter and write to you again before the end of next week."


@pytest.fixture
def two_files(tmp_path: Path) -> list[Path]:
    lines = [
        json.dumps({"prompt": f"Question number {i} about the garden wall", "completion": f"{ANSWER} {i}"})
        for i in range(8)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, "{oops"]))
    rows = [
        "text;label",
        "The wall of the garden is wet;complaint",
        "The roof of the shed has a hole;",
        "Where is the key;question",
    ]
    (tmp_path / "b.csv").write_text("\n".join([*rows, f"Question number 3 about the garden wall;{ANSWER} 3"]))
    return [tmp_path / "a.jsonl", tmp_path / "b.csv"]


def run(paths: list[Path], out: Path, **options: Any) -> dict[str, Any]:
    return prepare(paths, out, read_options(options), Run(ListSink()))


@pytest.fixture
def report(two_files, tmp_path) -> dict[str, Any]:
    return run(two_files, tmp_path / "out", task_type="completion")


@pytest.fixture
def examples(report, tmp_path) -> pl.DataFrame:
    return filled(pl.read_parquet(tmp_path / "out" / "examples-00000.parquet"))


@pytest.fixture
def findings(report, tmp_path) -> pl.DataFrame:
    return pl.read_parquet(tmp_path / "out" / "findings.parquet")


def test_rows_are_counted_over_all_files_and_in_each(examples):
    assert examples["row"].to_list() == list(range(1, 14))
    assert examples["source"].to_list() == [0] * 9 + [1] * 4
    assert examples["source_row"].to_list() == [*range(1, 10), *range(1, 5)]


def test_the_report_tells_of_each_file(report):
    told = [
        (s["name"], s["format"], s["file_type"], s["delimiter"], s["rows"], s["first_row"]) for s in report["sources"]
    ]
    assert told == [("a.jsonl", "prompt_completion", "jsonl", None, 9, 1), ("b.csv", "text_label", "csv", ";", 4, 10)]


def test_a_row_that_is_in_both_files_is_found(findings):
    (found,) = findings.filter(pl.col("code") == "duplicate_exact").to_dicts()
    assert (found["row"], found["related_row"]) == (13, 4)
    assert (
        found["message"]
        == "Row 4 of b.csv (line 5 of the file) is the same example as row 4 of a.jsonl, which is kept."
    )


def test_sentences_speak_of_the_row_in_its_own_file(findings):
    by_code = {f["code"]: (f["row"], f["message"]) for f in findings.to_dicts()}
    assert by_code["invalid_json"][0] == 9
    assert by_code["invalid_json"][1].startswith("Row 9 of a.jsonl is not valid JSON")
    assert by_code["empty_answer"] == (
        11,
        "Row 2 of b.csv (line 3 of the file) has no answer. Write the answer, or remove the row.",
    )


def test_findings_that_need_the_whole_set_name_the_file_too(findings):
    short = findings.filter((pl.col("code") == "completion_too_short") & (pl.col("row") == 10))["message"].item()
    assert short.startswith("Row 1 of b.csv (line 2 of the file)")


def test_each_file_has_its_own_choices(two_files, tmp_path):
    mapping = {"prompt": "label", "completion": "text"}
    sources = [{"name": "First.jsonl"}, {"name": "Second.csv", "format": "input_output", "mapping": mapping}]
    report = run(two_files, tmp_path / "out", sources=sources)
    assert [(s["name"], (s["mapping"] or {}).get("completion")) for s in report["sources"]] == [
        ("First.jsonl", "completion"),
        ("Second.csv", "text"),
    ]


def test_choices_for_another_number_of_files_are_refused(two_files, tmp_path):
    with pytest.raises(UserError) as refused:
        run(two_files, tmp_path / "out", sources=[{}])
    assert (refused.value.code, refused.value.field) == ("bad_option", "sources")


def test_a_file_without_a_usable_row_is_named(two_files, tmp_path):
    (tmp_path / "c.jsonl").write_text("{oops\n{again")
    with pytest.raises(UserError) as refused:
        run([*two_files, tmp_path / "c.jsonl"], tmp_path / "out")
    assert (refused.value.code, refused.value.place.file, refused.value.place.row) == ("no_usable_rows", "c.jsonl", 1)


def test_a_snapshot_knows_the_file_of_each_row(report, tmp_path):
    spec = {"chunks": [str(tmp_path / "out" / name) for name in report["chunks"]], "split": {"train": 1.0}}
    make_snapshot(read_spec(spec), tmp_path / "snapshot", Run(ListSink()))
    frame = pl.read_parquet(tmp_path / "snapshot" / "snapshot.parquet")
    assert set(frame.filter(pl.col("source") == 1)["source_row"]) == {1, 3}


def test_texts_without_a_question_do_not_contradict_each_other_beside_another_file(tmp_path):
    texts, asked = tmp_path / "texts.jsonl", tmp_path / "asked.jsonl"
    texts.write_text(
        "\n".join(json.dumps({"text": f"Foxes sleep in the den number {i * 7} of {i}."}) for i in range(9))
    )
    lines = [{"prompt": f"What do foxes do in month {i}", "completion": f"They sleep {i}."} for i in range(9)]
    asked.write_text("\n".join(map(json.dumps, lines)))
    report = prepare([texts, asked], tmp_path / "both", read_options({}), Run(ListSink()))
    assert "contradiction" not in report["codes"]
