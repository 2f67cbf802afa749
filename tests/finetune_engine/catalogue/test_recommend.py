"""Which base model suits."""

from __future__ import annotations

from datetime import date

import pytest

from finetune_engine.catalogue.catalogue import load_catalogue
from finetune_engine.catalogue.recommend import Candidate, Wishes, recommend, score
from finetune_engine.errors import UserError

TODAY = date(2026, 11, 22)
BOOK = load_catalogue()


def base_score(key: str, **wishes: object) -> int:
    return score(Candidate(BOOK[key]), Wishes(**wishes), today=TODAY).base_score  # type: ignore[arg-type]


@pytest.mark.parametrize(("examples", "points"), [(1000, 30), (500, 30), (100, 15), (99, -20)])
def test_examples_score_by_what_the_model_wants(examples: int, points: int) -> None:
    assert base_score("mistral-7b", example_count=examples) == points


def test_the_methods_weights_are_kept() -> None:
    assert base_score("mistral-7b", example_count=500, budget="low") == 30 + 20
    assert base_score("gpt-4o-mini", example_count=500, budget="high") == 30 + 25
    assert base_score("mistral-7b", example_count=500, privacy="high") == 30 + 30
    assert base_score("gpt-4o-mini", example_count=500, privacy="high") == 30
    assert base_score("mistral-7b", example_count=500, performance="high") == 30 + 20


def test_our_own_terms_stand_apart_from_the_methods() -> None:
    found = score(Candidate(BOOK["qwen2.5-7b"], fit="too_large"), Wishes(example_count=600), today=TODAY)
    ours = [term for term in found.terms if term.is_ours]
    assert found.score == found.base_score + sum(term.points for term in ours)
    assert any("more memory than this machine has" in term.sentence for term in ours)


def test_a_model_that_reads_too_little_says_so() -> None:
    found = score(Candidate(BOOK["llama-2-7b"]), Wishes(example_count=600, longest_tokens=6000), today=TODAY)
    assert any("reads only 4,096" in sentence for sentence in found.reasons)


def test_closed_models_come_last_and_what_cannot_start_after_what_can() -> None:
    candidates = [Candidate(BOOK["gpt-4"]), Candidate(BOOK["qwen3-8b"], can_start=False), Candidate(BOOK["demo-base"])]
    assert [one.key for one in recommend(candidates, Wishes(), today=TODAY)] == ["demo-base", "qwen3-8b", "gpt-4"]


def test_a_makers_last_day_closes_its_model() -> None:
    entry = BOOK["gpt-4o-mini"]
    assert entry.status_on(date(2027, 1, 5)) == "deprecated"
    assert entry.status_on(date(2027, 1, 6)) == "closed"


def test_every_point_has_its_sentence() -> None:
    for entry in BOOK.values():
        found = score(Candidate(entry, "fits"), Wishes(example_count=300, privacy="high"), today=TODAY)
        assert all(term.sentence for term in found.terms)


@pytest.mark.parametrize(("name", "value"), [("budget", "huge"), ("example_count", -1), ("latency", 3), ("colour", 1)])
def test_a_wish_that_is_none_is_refused_by_its_field(name: str, value: object) -> None:
    with pytest.raises(UserError) as caught:
        Wishes.from_dict({name: value})
    assert caught.value.field == name
