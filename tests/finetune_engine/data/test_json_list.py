"""A JSON list is read element by element; a broken one does not take the others with it."""

from __future__ import annotations

import json

import pytest


def pretty(rows: list[dict[str, str]]) -> str:
    return json.dumps(rows, indent=2)


def test_a_list_is_read_whole(prepare_text, good_rows):
    assert prepare_text("a.json", json.dumps(good_rows)).counts["accepted"] == 30


def test_a_missing_quote_costs_one_row_and_names_line_and_column(prepare_text, good_rows):
    text = pretty(good_rows).replace('letter 6 and we must answer it"', "letter 6 and we must answer it", 1)
    done = prepare_text("a.json", text)
    (finding,) = done.of("invalid_json")
    assert finding["row"] == 7
    line = text.splitlines().index(next(x for x in text.splitlines() if "letter 6 " in x)) + 1
    assert f"at line {line}, column {len(text.splitlines()[line - 1]) + 1} " in finding["message"]
    assert done.counts == {"total": 30, "accepted": 29, "flagged": 0, "needs_review": 0, "rejected": 1}


def test_a_comma_before_the_end_is_forgiven_and_said(prepare_text, good_rows):
    done = prepare_text("a.json", pretty(good_rows)[:-2] + ",\n]")
    assert [f["row"] for f in done.of("trailing_comma")] == [30]
    assert (done.counts["total"], done.counts["flagged"]) == (30, 1)


def test_a_list_cut_short_keeps_the_whole_rows(prepare_text, good_rows):
    text = pretty(good_rows)
    done = prepare_text("a.json", text[: text.index("letter 20")])
    assert (done.counts["total"], done.counts["accepted"], done.counts["rejected"]) == (21, 20, 1)


@pytest.mark.parametrize("bad", ['{"text": "a", "label": NaN}', '{"text": "a \\ud800 b", "label": "x"}', "7", "[]"])
def test_a_bad_element_is_rejected_alone(prepare_text, good_lines, bad):
    done = prepare_text("a.json", "[" + ",".join([*good_lines[:6], bad, *good_lines[6:]]) + "]")
    assert done.status(7) == "rejected"
    assert done.counts["accepted"] == 30


def test_rows_across_block_borders_are_whole(prepare_text):
    rows = [{"prompt": f"{i} " + "é" * 3000, "completion": f"answer {i} " + "ü" * 2000} for i in range(400)]
    text = json.dumps(rows, ensure_ascii=False)
    assert len(text.encode()) > 3_000_000
    done = prepare_text("a.json", text, near_duplicates=False)
    assert done.counts["total"] == 400
    assert [json.loads(m)[0]["content"] for m in done.examples["messages"]] == [row["prompt"] for row in rows]


def test_objects_over_several_lines_that_follow_one_another_are_all_read(prepare_text, good_rows):
    done = prepare_text("a.json", "\n".join(json.dumps(row, indent=2) for row in good_rows))
    assert (done.counts["total"], done.counts["accepted"]) == (30, 30)


def test_lists_that_follow_one_another_are_all_read(prepare_text, good_rows):
    done = prepare_text("a.json", pretty(good_rows[:20]) + "\n" + pretty(good_rows[20:]))
    assert (done.counts["total"], done.counts["accepted"]) == (30, 30)


def test_what_stands_behind_a_list_is_not_passed_over_in_silence(prepare_text, good_rows):
    done = prepare_text("a.json", pretty(good_rows) + "\nthe end")
    assert [f["row"] for f in done.of("invalid_json")] == [31]
