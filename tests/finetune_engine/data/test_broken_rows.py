"""One bad row in a good file is a finding that says where and how; the rest stays."""

from __future__ import annotations

import json

import pytest


def put_in(lines: list[str], *bad: str) -> str:
    """The bad lines as rows 7, 8, ..."""
    return "\n".join([*lines[:6], *bad, *lines[6:]])


def test_broken_json_names_row_column_and_what_was_expected(prepare_text, good_lines):
    done = prepare_text("a.jsonl", put_in(good_lines, '{"text": "never closed'))
    (finding,) = done.of("invalid_json")
    assert finding["message"] == (
        "Row 7 is not valid JSON: found the end of the line at column 23 where a closing quote was expected. "
        "Mend the line or remove it."
    )
    assert (finding["row"], finding["column"]) == (7, "23")
    assert (finding["found"], finding["expected"]) == ("the end of the line", "a closing quote")
    assert finding["fix"]
    assert done.status(7) == "rejected"
    assert done.counts["total"] == 31
    assert done.counts["accepted"] == 30


@pytest.mark.parametrize(
    ("line", "code", "column"),
    [
        ('{"text": "abc def, "label": "x"}', "invalid_json", "21"),
        ('{"text": "abc", "label": NaN}', "invalid_json", "26"),
        ('{"text": "abc", "label": -Infinity}', "invalid_json", "26"),
        ('{"text": "abc", "label": "x",}', "invalid_json", "29"),
        ("{'text': 'abc', 'label': 'x'}", "invalid_json", "2"),
        ('{"text": "a", "label": "b"} {"text": "c"}', "invalid_json", "29"),
        ('{"text": "abc\tdef", "label": "x"}', "invalid_json", "14"),
        ("[" * 100_000, "invalid_json", "1026"),
        ('{"text": "abc \\ud800 x", "label": "x"}', "encoding", "15"),
        ('{"text": "abc \0 x", "label": "x"}', "nul_byte", "15"),
        ("[1, 2]", "data_type", None),
        ('"hello"', "data_type", None),
        ("42", "data_type", None),
        ("null", "data_type", None),
        ('{"text": "a b c", "m": ' + "[" * 300 + "]" * 300 + "}", "data_type", None),
        ('{"text": "a b c"}', "message_missing_key", "label"),
        ('{"text": ["a"], "label": "x"}', "data_type", "text"),
        ('{"text": "  ", "label": "question"}', "empty_input", "prompt"),
        ('{"text": "Where is my parcel now", "label": ""}', "empty_answer", "answer"),
        ('{"text": "a \\u0000 b", "label": "question"}', "nul_byte", "prompt"),
    ],
)
def test_a_bad_line_is_rejected_with_its_code_and_column(prepare_text, good_lines, line, code, column):
    done = prepare_text("a.jsonl", put_in(good_lines, line))
    finding = done.findings.filter(done.findings["row"] == 7).to_dicts()[0]
    assert (finding["code"], finding["column"], finding["severity"]) == (code, column, "error")
    assert finding["message"].startswith("Row 7 ")
    assert done.counts == {"total": 31, "accepted": 30, "flagged": 0, "needs_review": 0, "rejected": 1}


def test_a_name_that_stands_twice_goes_to_review(prepare_text, good_lines):
    done = prepare_text("a.jsonl", put_in(good_lines, '{"text": "one two", "text": "three", "label": "question"}'))
    (finding,) = done.of("duplicate_key")
    assert finding["column"] == "text"
    assert done.status(7) == "needs_review"


def test_the_original_of_a_rejected_row_is_kept(prepare_text, good_lines):
    done = prepare_text("a.jsonl", put_in(good_lines, '{"text": "never closed'))
    row = done.examples.row(6, named=True)
    assert (row["messages"], row["prompt"], row["original"]) == ("[]", "", '{"text": "never closed')


def test_blank_lines_are_no_rows_but_lines_are_counted(prepare_text, good_lines):
    done = prepare_text("a.jsonl", "\n\n".join(good_lines) + "\n\n{oops\n")
    (finding,) = done.of("invalid_json")
    assert finding["message"].startswith("Row 31 (line 61 of the file) ")


def test_one_row_in_another_encoding_is_rejected_alone(prepare_text, good_rows):
    lines = [json.dumps(row | {"text": row["text"] + " déjà"}, ensure_ascii=False).encode() for row in good_rows]
    lines[6] = b'{"text": "d\xe9j\xe0 vu", "label": "question"}'
    done = prepare_text("a.jsonl", b"\n".join(lines))
    assert [f["row"] for f in done.of("encoding")] == [7]
    assert done.counts["accepted"] == 29


@pytest.mark.parametrize("size", [40_000_000])
def test_a_giant_line_is_passed_over_and_named(prepare_text, good_lines, size):
    text = put_in(good_lines, '{"text": "' + "x" * size + '", "label": "question"}')
    done = prepare_text("a.jsonl", text)
    (finding,) = done.of("line_too_large")
    assert (finding["row"], done.counts["accepted"]) == (7, 30)
    assert "40.0 MB" in finding["message"]


def test_a_giant_element_of_a_list_is_passed_over_and_named(prepare_text, good_lines):
    text = "[" + ",".join([*good_lines[:6], '{"text": "' + r"x[]{}\"\\" * 400_000 + '"}', *good_lines[6:]]) + "]"
    done = prepare_text("a.json", text, max_line_bytes=100_000)
    assert [f["row"] for f in done.of("line_too_large")] == [7]
    assert done.counts["accepted"] == 30
