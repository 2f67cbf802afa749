"""The questions and passages that ship with the product."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest

from finetune_engine.evaluate.probes import EXAMPLES, HERE, passages, probes

BY_NAME = {probe.name: probe for probe in probes()}


@pytest.mark.parametrize(("name", "least"), [("knowledge", 80), ("reasoning", 60), ("language", 80)])
def test_a_probe_has_enough_questions_to_measure_with(name, least):
    assert len(BY_NAME[name].questions) >= least


@pytest.mark.parametrize("probe", probes(), ids=lambda probe: probe.name)
def test_every_key_is_in_range_and_every_place_is_right_equally_often(probe):
    places = Counter(question.answer for question in probe.questions)
    assert set(places) == set(range(len(probe.questions[0].choices)))
    assert max(places.values()) - min(places.values()) <= 1


@pytest.mark.parametrize("probe", probes(), ids=lambda probe: probe.name)
def test_no_question_comes_twice_and_no_choice_is_given_twice(probe):
    asked = Counter((question.question.casefold(), tuple(sorted(question.choices))) for question in probe.questions)
    assert max(asked.values()) == 1
    assert len({question.id for question in probe.questions}) == len(probe.questions)
    for question in probe.questions:
        folded = {choice.casefold() for choice in question.choices}
        assert len(folded) == len(question.choices) == len(probe.questions[0].choices)
        assert all(choice == choice.strip() and choice for choice in question.choices)


@pytest.mark.parametrize("name", ["knowledge", "reasoning"])
def test_the_question_does_not_give_the_answer_away_by_its_place_in_the_alphabet_or_its_length(name):
    questions = BY_NAME[name].questions
    longest = sum(max(q.choices, key=len) == q.choices[q.answer] for q in questions) / len(questions)
    shortest = sum(min(q.choices, key=len) == q.choices[q.answer] for q in questions) / len(questions)
    first = sum(min(q.choices) == q.choices[q.answer] for q in questions) / len(questions)
    assert max(longest, shortest, first) < 0.5


def test_neither_sentence_of_a_pair_is_the_longer_one_as_a_rule():
    pairs = BY_NAME["language"].questions
    longer = sum(len(q.choices[q.answer]) > len(q.choices[1 - q.answer]) for q in pairs)
    shorter = sum(len(q.choices[q.answer]) < len(q.choices[1 - q.answer]) for q in pairs)
    assert 0.25 < longer / len(pairs) < 0.5
    assert 0.25 < shorter / len(pairs) < 0.5


def test_the_order_of_the_keys_has_no_long_runs():
    for probe in probes():
        keys = [question.answer for question in probe.questions]
        repeats = sum(a == b for a, b in pairwise(keys)) / (len(keys) - 1)
        assert repeats < 0.65


def test_the_general_text_has_about_fifteen_hundred_words_in_short_passages():
    words = [len(passage.split()) for passage in passages()]
    assert 1_300 <= sum(words) <= 1_700
    assert max(words) <= 120
    assert min(words) >= 60


def test_the_general_text_is_plain_and_no_passage_repeats_another():
    sentences = Counter(
        sentence.strip() for passage in passages() for sentence in re.split(r"(?<=[.!?]) ", passage) if sentence
    )
    assert max(sentences.values()) == 1
    assert len(set(passages())) == len(passages())


def test_open_questions_are_of_a_probe_that_exists():
    assert {probe for probe, _ in EXAMPLES} <= set(BY_NAME)


def test_the_files_are_packed_with_the_product():
    import tomllib

    settings = tomllib.loads((HERE.parents[2] / "pyproject.toml").read_text())
    assert "evaluate/probes/*.jsonl" in settings["tool"]["setuptools"]["package-data"]["finetune_engine"]
