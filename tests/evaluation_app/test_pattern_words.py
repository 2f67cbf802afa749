"""A pattern in plain words."""

from __future__ import annotations

import pytest

from evaluation_app.queries.pattern_words import pattern_words


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (
            r"^\d{4}-\d{2}$",
            "the beginning of the answer, then 4 digits, then “-”, then 2 digits, then the end of the answer",
        ),
        (r"(Section|Clause) \d+", "either (“Section”) or (“Clause”), then a blank, then a digit, once or more"),
        (r"(\.\d+)*", "(“.”, then a digit, once or more), any number of times or not at all"),
        (r"[A-Z]{2,3}[^a-z]?", "“A” to “Z”, 2 to 3 times, then perhaps any character but “a” to “z”"),
        (r"\bshall\b", "the edge of a word, then “shall”, then the edge of a word"),
        ("(?i)abc", "“abc”"),
    ],
)
def test_a_pattern_is_said_in_words(pattern, words) -> None:
    assert pattern_words(pattern) == words


@pytest.mark.parametrize("pattern", [r"\pL+", "(", "(?=x)", "a" * 2_000, "(" * 200 + ")" * 200])
def test_what_has_no_simple_words_is_left_unsaid(pattern) -> None:
    assert pattern_words(pattern) == ""


@pytest.mark.parametrize("pattern", ["[[:alpha:]]+", "(?m)^a$", "(?s)a.b", "a(?i:b)"])
def test_what_would_be_said_wrongly_is_not_said(pattern: str) -> None:
    assert pattern_words(pattern) == ""
