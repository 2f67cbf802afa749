"""Drift: quiet on the same source, loud on another one."""

from __future__ import annotations

import json
import random

import pytest

from finetune_engine.data.samples import SAMPLES
from finetune_engine.serve.drift import (
    FEWEST,
    baseline_of,
    compare,
    compare_acceptance,
    compare_confidence,
    divergence,
    profile_of,
    psi,
)

GERMAN = (
    "Bitte sagen Sie mir, ob der Vertrag ohne Frist und ohne Angabe von Gründen durch die Bank gekündigt werden darf"
)


@pytest.fixture(scope="module")
def clauses() -> list[str]:
    lines = SAMPLES["contract_clauses"].path.read_text().splitlines()
    texts = [str(next(iter(json.loads(line).values()))) for line in lines if line.startswith("{")]
    found = [text for text in texts if len(text) > 20]
    random.Random(3).shuffle(found)
    assert len(found) > 2_000
    return found


@pytest.fixture(scope="module")
def baseline(clauses):
    return baseline_of(clauses[:1_200])


@pytest.fixture(scope="module")
def questions(shared_data) -> dict[str, list[str]]:
    """Questions to an assistant, by domain."""
    folder = shared_data / "classification"
    domains = json.loads((folder / "clinc150_domains.json").read_text())
    of_intent = {intent: domain for domain, intents in domains.items() for intent in intents}
    found: dict[str, list[str]] = {}
    for text, intent in json.loads((folder / "clinc150_data_full.json").read_text())["train"]:
        found.setdefault(of_intent[intent], []).append(text)
    return found


def moved(texts, baseline) -> set[str]:
    return {finding.name for finding in compare(profile_of(texts, baseline), baseline) if finding.is_over}


def test_samples_of_200_of_the_same_source_raise_at_most_one_false_alarm_in_twenty(clauses, baseline) -> None:
    draw = random.Random(5)
    alarms = sum(bool(moved(draw.sample(clauses[1_200:], 200), baseline)) for _ in range(40))
    assert alarms <= 2


def test_another_source_is_found(baseline, questions) -> None:
    asked = random.Random(7).sample([text for texts in questions.values() for text in texts], 200)
    assert {"length", "vocabulary", "unseen_words"} <= moved(asked, baseline)


def test_another_domain_of_the_same_kind_of_question_is_found(questions) -> None:
    banking, travel = list(questions["banking"]), questions["travel"]
    random.Random(11).shuffle(banking)
    baseline = baseline_of(banking[:1_000])
    assert moved(banking[1_000:1_200], baseline) == set()
    assert {"vocabulary", "unseen_words"} <= moved(travel[:200], baseline)


def test_another_language_is_found_and_named(clauses, baseline) -> None:
    asked = [f"{GERMAN} ({number})?" for number in range(60)]
    findings = {one.name: one for one in compare(profile_of(asked, baseline), baseline)}
    assert findings["languages"].is_over
    assert "German" in findings["languages"].sentence


def test_too_few_questions_are_not_compared(clauses, baseline) -> None:
    assert compare(profile_of(clauses[: FEWEST - 1], baseline), baseline) == []


def test_nothing_of_a_text_is_in_a_profile(clauses, baseline) -> None:
    told = json.dumps(baseline) + json.dumps(profile_of(clauses[:100], baseline))
    words = {word for text in clauses[:100] for word in text.split() if len(word) > 6 and word.isalpha()}
    assert {word for word in words if word in told} <= {"languages"}  # the name of a field


def test_the_strangest_questions_are_named_by_their_place(clauses, baseline) -> None:
    asked = [*clauses[1_200:1_300], "zyxwv qwrtp blorbish fnarded kwyjibo"]
    assert profile_of(asked, baseline)["unlike"][0] == 100


def test_masked_values_are_no_words() -> None:
    plain = profile_of(["write to the landlord today"])
    assert profile_of(["write to [EMAIL_1] the landlord today"])["words"] == plain["words"]


def test_psi_is_zero_for_equal_and_grows_with_the_shift() -> None:
    assert psi([50, 50], [50, 50]) == pytest.approx(0)
    assert psi([60, 40], [50, 50]) < 0.1 < psi([90, 10], [50, 50])
    assert psi([900, 100], [500, 500]) == pytest.approx(0.879, abs=0.01)  # (0.9-0.5)ln(1.8) + (0.1-0.5)ln(0.2)


def test_divergence_lies_between_nothing_and_one_bit() -> None:
    assert divergence([1, 2, 3], [10, 20, 30]) == pytest.approx(0)
    assert divergence([1, 0], [0, 1]) == pytest.approx(1)


def test_a_model_less_sure_than_when_it_was_judged_is_found() -> None:
    middles = (0.25, 0.75)
    assert compare_confidence([90, 110], 0.75, 300, middles).is_over
    assert not compare_confidence([4, 196], 0.75, 300, middles).is_over


def test_fewer_good_answers_than_were_right_are_found_once_enough_were_judged() -> None:
    assert compare_acceptance(50, 100, 0.9, 300).is_over
    assert not compare_acceptance(3, 4, 0.9, 300).is_over
    assert not compare_acceptance(88, 100, 0.9, 300).is_over


def test_no_text_at_all_has_a_profile() -> None:
    assert profile_of([])["texts"] == 0
    assert profile_of(["", "\ud800 ?"])["texts"] == 2
