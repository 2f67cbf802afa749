"""CSV and TSV: delimiters, quotes, encodings and crooked rows."""

from __future__ import annotations

import gzip

import pytest

from finetune_engine.data.readers.table import distinct_names


def table(count: int = 20, comma: str = ",") -> list[str]:
    return [f"text{comma}label"] + [f"letter {i} is here{comma}{'a' if i % 2 else 'b'}" for i in range(count)]


@pytest.mark.parametrize("comma", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(prepare_text, comma):
    done = prepare_text("a.csv", "\n".join(table(comma=comma)))
    assert done.report["delimiter"] == comma
    assert done.counts["accepted"] == 20


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_ending_is_read(prepare_text, ending):
    assert prepare_text("a.csv", ending.join(table())).counts["accepted"] == 20


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_every_usual_encoding_is_read(prepare_text, encoding):
    lines = table()
    lines[3] = "der Brief aus Köln liegt für Sie bereit,b"
    done = prepare_text("a.csv", "\n".join(lines).encode(encoding))
    assert done.examples["prompt"][2] == "der Brief aus Köln liegt für Sie bereit"
    assert done.counts["accepted"] == 20


def test_japanese_in_shift_jis_is_read_and_the_guess_is_shown(prepare_text):
    lines = ["text,label"] + [
        f"これは日本語の文章です番号{i}今日は天気がいい,{'はい' if i % 2 else 'いいえ'}" for i in range(30)
    ]
    done = prepare_text("a.csv", "\n".join(lines).encode("shift_jis"))
    assert done.examples["answer"][1] == "はい"
    assert [w["code"] for w in done.report["warnings"]] == ["encoding"]


def test_a_gzipped_table_is_read(prepare_text):
    assert prepare_text("a.csv.gz", gzip.compress("\n".join(table()).encode())).counts["accepted"] == 20


def test_a_row_with_too_many_cells_is_named_with_its_line(prepare_text):
    done = prepare_text("a.csv", "\n".join([*table(), "one, two, three,a", "short"]))
    first, second = done.of("ragged_row")
    assert first["message"].startswith("Row 21 (line 22 of the file) has 4 cells where the header has 2.")
    assert (second["found"], second["expected"]) == ("1 cell", "2 cells")
    assert done.counts["accepted"] == 20


def test_a_quote_that_is_never_closed_costs_one_row(prepare_text):
    lines = table()
    lines.insert(8, '"never closed,a')
    done = prepare_text("a.csv", "\n".join(lines))
    assert [(f["row"], f["code"]) for f in done.findings.to_dicts()] == [(8, "unclosed_quote")]
    assert done.counts["accepted"] == 20


def test_a_quoted_cell_may_span_lines(prepare_text):
    done = prepare_text("a.csv", "\n".join([*table(), '"line one\nline two",a']))
    assert done.examples["prompt"][20] == "line one\nline two"
    assert done.examples["line"][20] == 22


def test_a_header_with_a_name_twice_is_numbered_and_said(prepare_text):
    done = prepare_text("a.csv", "text,text,label\n" + "\n".join(f"letter {i},x,{'ab'[i % 2]}" for i in range(12)))
    assert done.report["columns"] == ["text", "text 2", "label"]
    assert done.report["warnings"][0]["code"] == "duplicate_header"


def test_lines_above_the_header_are_passed_over(prepare_text):
    done = prepare_text("a.csv", "Report of March\n\n" + "\n".join(table(comma=";")))
    assert done.counts["accepted"] == 20
    assert done.examples["line"][0] == 4


def test_columns_can_be_chosen(prepare_text):
    text = "subject,body,reply,team\n" + "\n".join(f"s{i},body of {i},reply to {i},t{i}" for i in range(12))
    mapping = {"prompt": ["subject", "body"], "completion": "reply", "group": "team"}
    done = prepare_text("a.csv", text, mapping=mapping)
    row = done.examples.row(0, named=True)
    assert (row["prompt"], row["answer"]) == ("s0\n\nbody of 0", "reply to 0")
    assert row["metadata"] == '{"team":"t0"}'


def test_a_header_of_very_many_columns_takes_time_in_proportion():
    names, repeated = distinct_names(["text", *[""] * 200_000, *["text"] * 100_000, *[""] * 200_000])
    assert (len(names), len(set(names)), len(repeated)) == (300_001, 300_001, 100_000)
