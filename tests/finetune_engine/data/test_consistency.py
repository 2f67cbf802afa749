"""Answers of another form than the rest."""

from __future__ import annotations

import polars as pl
import pytest

from finetune_engine.data.consistency import Forms, departures, forms_of

PROSE = "The tenant pays the rent on the first day of the month."


def frame_of(answers: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"row": range(1, len(answers) + 1), "answer": answers}).with_columns(
        pl.lit(None, pl.Int64).alias("line"), pl.col("answer").str.count_matches(r"\S+").alias("answer_words")
    )


def departing(answers: list[str]) -> list[tuple[int, str]]:
    forms = Forms()
    frame = frame_of(answers)
    forms.add(frame)
    return [(finding.row, str(finding.found)) for finding in departures(frame, forms.usual)]


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ('{"a": [1, 2]}', "json"),
        ('  [{"a": 1}]\n', "json"),
        ("[1] See the first note for the reasons given there.", "prose"),
        ("[]/[]/20[]", "short"),
        ("[see the note below about this clause]", "prose"),
        ("<p>Good morning to you</p>", "markup"),
        ("<3 you all very much indeed", "prose"),
        ("```python\nprint(1)\n```", "code"),
        ("- one\n- two", "list"),
        ("1. one\n2. two", "list"),
        ("- one thing is certain here", "prose"),
        ("1,234.50 €", "number"),
        ("-3", "number"),
        ("Governing law", "short"),
        (PROSE, "prose"),
        ("", None),
    ],
)
def test_an_answer_has_a_form(answer, form):
    assert forms_of(frame_of([answer])).to_list() == [form]


def test_json_among_prose_is_found():
    assert departing([PROSE] * 40 + ['{"a": 1}']) == [(41, "JSON")]


def test_prose_among_json_is_found():
    assert departing(['{"a": 1}'] * 40 + [PROSE]) == [(41, "running text")]


def test_a_long_text_among_labels_is_found():
    assert departing(["Yes"] * 40 + [" ".join([PROSE] * 4)]) == [(41, "running text")]


def test_a_label_of_five_words_among_labels_is_none():
    assert departing(["Yes"] * 40 + ["Only with the landlord's consent"]) == []


def test_a_list_among_prose_is_none():
    assert departing([PROSE] * 40 + ["- one\n- two"]) == []


def test_a_set_of_many_forms_has_no_usual_one():
    assert departing([PROSE] * 20 + ['{"a": 1}'] * 20) == []


def test_few_answers_say_nothing_about_the_usual_form():
    assert departing([PROSE] * 8 + ['{"a": 1}']) == []


def test_batches_count_together():
    forms = Forms()
    forms.add(frame_of([PROSE] * 20))
    forms.add(frame_of([PROSE] * 20))
    assert forms.usual == "prose"
