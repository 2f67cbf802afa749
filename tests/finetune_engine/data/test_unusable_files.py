"""A file that cannot be used gets one clear sentence, never a traceback."""

from __future__ import annotations

import gzip
import json

import pytest

from finetune_engine.errors import UserError


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.jsonl", b"", "empty_file"),
        ("a.csv", b"\xef\xbb\xbf", "empty_file"),
        ("a.jsonl", b"\n \n", "empty_file"),
        ("a.json", b"[]", "empty_file"),
        ("a.csv", b"text,label\n", "header_only"),
        ("a.csv", b"date,place\n2020,Rome\n2021,Oslo\n", "wrong_columns"),
        ("a.jsonl", b'{"foo": 1, "bar": 2}\n' * 5, "wrong_columns"),
        ("a.json", b'{"train": [["hello", "greet"]], "test": [["bye", "part"]]}', "wrong_columns"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "unsupported_file"),
        ("a.csv", b"PK\x03\x04" + b"\0" * 20 + b"xl/workbook.xml", "unsupported_file"),
        ("a.csv", b"%PDF-1.7 text", "unsupported_file"),
        ("a.csv", b"\x1f\x8bnot really", "unsupported_file"),
        ("a.csv.gz", gzip.compress(b"text,label\n" * 500, mtime=0)[:40], "unsupported_file"),
        (
            "a.txt",
            b"Once upon a time, there was, they said, a fox.\n\nIt ran.\nAnd ran, and ran.\n",
            "unsupported_file",
        ),
        ("a.jsonl", b"{oops\n{again\n", "no_usable_rows"),
        ("a.jsonl", b'{"question_id": 1, "turns": ["a", "b"]}\n' * 3, "unsupported_format"),
        ("a.json", b"[" * 100_000, "no_usable_rows"),
    ],
)
def test_an_unusable_file_says_why(prepare_text, name, content, code):
    with pytest.raises(UserError) as refused:
        prepare_text(name, content)
    assert refused.value.code == code
    assert name in refused.value.sentence or "Row 1" in refused.value.sentence
    assert refused.value.sentence.endswith((".", "]."))


def test_wrong_columns_name_what_was_found_and_what_would_do(prepare_text):
    with pytest.raises(UserError) as refused:
        prepare_text("a.csv", "date,place\n2020,Rome\n")
    assert refused.value.place.found == "date, place"
    assert '{"text": "…", "label": "…"}' in (refused.value.place.expected or "")


def test_a_file_of_one_giant_line_names_the_row(prepare_text):
    with pytest.raises(UserError) as refused:
        prepare_text("a.jsonl", '{"text": "' + "x" * 500_000 + '"}', max_line_bytes=100_000)
    assert refused.value.code == "line_too_large"
    assert refused.value.place.row == 1


def test_a_mapping_to_a_column_that_is_not_there_names_the_columns(prepare_text):
    with pytest.raises(UserError, match="has no column “body”") as refused:
        prepare_text("a.csv", "a,b\n1,2\n", mapping={"prompt": "body", "completion": "b"})
    assert refused.value.code == "bad_mapping"


@pytest.mark.parametrize("options", [{"task_type": "poetry"}, {"max_rows": -1}, {"surprise": 1}, {"mapping": {}}])
def test_an_option_that_makes_no_sense_is_named(prepare_text, options):
    with pytest.raises(UserError) as refused:
        prepare_text("a.jsonl", json.dumps({"prompt": "a", "completion": "b"}), **options)
    assert refused.value.code in ("bad_option", "bad_mapping")


def test_an_explosive_archive_is_refused(prepare_text, monkeypatch):
    monkeypatch.setattr("finetune_engine.data.readers.byte_stream._BOMB_FLOOR", 1 << 20)
    with pytest.raises(UserError, match="unpacks to more than"):
        prepare_text("a.jsonl.gz", gzip.compress(b"0" * (8 << 20)))


def test_a_file_that_begins_with_a_megabyte_of_blank_lines_is_not_empty(prepare_text):
    row = json.dumps({"prompt": "Where do foxes sleep", "completion": "In a den."})
    assert prepare_text("a.jsonl", "\n" * 1_200_000 + row).counts["total"] == 1
