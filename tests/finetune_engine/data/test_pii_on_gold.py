"""Personal data in 1,500 texts whose spans are known."""

from __future__ import annotations

import csv

import pytest

from benchmarks.pii import KINDS, Score, score
from finetune_engine.data.pii import Span, find_pii


@pytest.fixture(scope="module")
def measured(shared_data) -> Score:
    return score(shared_data / "pii" / "presidio_synth_dataset_v2.json")


@pytest.mark.parametrize("kind", sorted(KINDS.values()))
def test_nearly_all_gold_values_are_found_whole(measured, kind):
    assert measured.recall(kind) >= (0.90 if kind == "phone" else 0.95)


@pytest.mark.parametrize("kind", sorted(KINDS.values()))
def test_nearly_all_that_is_found_is_a_gold_value(measured, kind):
    assert measured.precision(kind) >= 0.85


def test_texts_without_any_rarely_give_a_false_alarm(measured):
    assert measured.false_alarms <= 0.03 * measured.texts_without


@pytest.fixture(scope="module")
def people(shared_data) -> list[dict[str, str]]:
    """A table of a hundred made-up people, one kind of value per column."""
    with open(shared_data / "pii" / "fake_names_100_bom.csv", encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def found_whole(sentence: str, value: str, kind: str) -> bool:
    text = sentence.format(value)
    span = Span(kind, text.index(value), text.index(value) + len(value))
    return span in find_pii(text)


@pytest.mark.parametrize(
    ("column", "sentence", "kind", "least"),
    [
        ("EmailAddress", "Send it to {}.", "email", 1.0),
        ("CCNumber", "She paid with {} on Friday.", "card", 0.95),
        ("TelephoneNumber", "Please ring {} after six.", "phone", 0.90),
        ("Password", "The password is {}", "secret", 0.95),
    ],
)
def test_values_of_a_table_are_found_in_a_sentence(people, column, sentence, kind, least):
    values = [person[column] for person in people if person[column]]
    assert sum(found_whole(sentence, value, kind) for value in values) >= least * len(values)


@pytest.mark.parametrize(
    "column", ["UPS", "GUID", "BrowserUserAgent", "Birthday", "Latitude", "StreetAddress", "ZipCode"]
)
def test_other_columns_of_the_table_give_no_alarm(people, column):
    assert sum(bool(find_pii(person[column])) for person in people) <= 2
