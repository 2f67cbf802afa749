"""Lines that are written alike are read from their bytes. What is known of them is what a look at each text says."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_engine.data.canonical import normalise
from finetune_engine.data.pii import MAY_HOLD_PII
from finetune_engine.data.plain_rows import PlainRows, form_of
from finetune_engine.data.row_checks import MAY_BE_ODD

PIECES = [
    "a", "B", "k", "x", "G", "A", "D", " ", "  ", "1", "23", "456", ".", "-", ":", "/", "@", "_", "<", "[", "]", "|", ">", "=",
    "sk", "ghp", "glpat", "xoxb", "AKIA", "ASIA", "AIza", "ya29", "SG", "eyJ", "hooks.slack.com/", "-----BEGIN ", "npm", "hf",
    "password", "Pwd", "API key", "api-key", "Secret", "access token", "auth_token", "BEARER ", "mot de passe", " is", "INST",
    "PAD", "/INST", "</s>", "<|im_end|>", "DE", "GB", "192.168", "fe80", "::", "(", ")", "+", ",", "?", "{", "}", "'", "~",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
ROWS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6)


def read(rows: list[tuple[str, str]]) -> tuple[PlainRows, pl.DataFrame]:
    lines = [json.dumps({"prompt_text": asked, "api_key": said}).encode() for asked, said in rows]
    form = form_of(lines, "prompt_text", "api_key")
    assert form is not None
    plain = PlainRows(lines, form)
    return plain, plain.frame()


@settings(max_examples=300, deadline=None)
@given(ROWS)
def test_texts_normal_forms_and_words_are_those_of_each_text(rows):
    plain, frame = read(rows)
    assert plain.fits.all()
    assert list(frame.select("prompt", "answer").iter_rows()) == rows
    normal = [(normalise(asked), normalise(said)) for asked, said in rows]
    assert list(frame.select("prompt_norm", "answer_norm").iter_rows()) == normal
    words = [(len(asked.split()), len(said.split())) for asked, said in rows]
    assert list(frame.select("prompt_words", "answer_words").iter_rows()) == words


@settings(max_examples=1000, deadline=None)
@given(ROWS)
def test_no_row_that_the_patterns_would_find_goes_without_suspicion(rows):
    frame = read(rows)[1]
    for pattern in (MAY_HOLD_PII, MAY_BE_ODD):
        for column in ("prompt", "answer"):
            missed = frame[column].str.contains(pattern) & ~frame["suspect"]
            assert frame[column].filter(missed).to_list() == []


LINE = '{"prompt": "What is it", "completion": "A thing"}'


@pytest.mark.parametrize(
    "other",
    [
        "",
        '{"prompt": "What is it","completion": "A thing"}',
        '{"prompt": "What is it", "completion": "A thing"} ',
        '{"prompt": "What is it", "completion": "A thing", "n": 1}',
        '{"prompt": "What \\u0069s it", "completion": "A thing"}',
        '{"prompt": "What is it\u00e9", "completion": "A thing"}',
        '{"prompt": "What\tis it", "completion": "A thing"}',
        '{"prompt": "What is it", "completion": "A thing',
        '{"completion": "What is it", "prompt": "A thing"}',
        '{"prompt": "What is it", "prompt": "A thing"}',
        '["prompt", "What is it", "completion", "A thing"]',
    ],
)
def test_a_line_that_is_written_otherwise_is_left_to_the_parser(other):
    lines = [line.encode() for line in (LINE, other, LINE)]
    form = form_of(lines, "prompt", "completion")
    assert form is not None
    assert PlainRows(lines, form).fits.tolist() == [True, False, True]


def test_usual_texts_and_marks_in_the_names_of_columns_arouse_no_suspicion():
    line = json.dumps({"input_text": "What about parcel 12345?", "output-text": "It is well-known: (late)."}).encode()
    form = form_of([line], "input_text", "output-text")
    assert form is not None
    assert PlainRows([line], form).frame()["suspect"].to_list() == [False]
