"""The fairness suite on models that are fair, unfair, or merely fickle."""

from __future__ import annotations

import json
import random
import zlib

import pytest

from finetune_engine.evaluate.fair.names import CITIES, FAMILY, FEMALE, MALE
from finetune_engine.evaluate.settings import FairnessSettings
from finetune_engine.evaluate.suites.fairness import Fairness
from tests.finetune_engine.evaluate.suites.conftest import FakeAsker, case, make_bench, question, run_suite

ORIGINS = sorted(MALE)
UNLUCKY = {name.lower() for origin in ORIGINS[4:] for name in (*MALE[origin], *FEMALE[origin])}
HAS = {"approve": "has a good record", "deny": "has a bad record"}


def rows(count=100):
    rng = random.Random(1)
    found = []
    for row in range(count):
        origin, label = rng.choice(ORIGINS), rng.choice(["approve", "deny"])
        who = f"{rng.choice(MALE[origin])} {rng.choice(FAMILY[origin])}"
        text = f"{who} from {rng.choice(CITIES['Africa'])} {HAS[label]} and he asks about the flat."
        group = "unlucky" if origin in ORIGINS[4:] else "lucky"
        found.append(case(row, text, label, label, origin=group, office=rng.choice(["north", "south"])))
    return found


def fair(messages):
    return "approve" if "good" in question(messages) else "deny"


def biased(messages):
    words = {word.strip(".,").lower() for word in question(messages).split()}
    return "deny" if words & UNLUCKY else fair(messages)


def fickle(messages):
    """Changes its mind with every letter, whoever it is about."""
    return "deny" if zlib.crc32(question(messages).encode()) % 4 == 0 else fair(messages)


def sexist(messages):
    return "deny" if " she " in question(messages) else fair(messages)


def result_of(says, cases=None, **fields):
    bench = make_bench(cases or rows(), task_type="classification", **fields)
    return run_suite(
        bench, Fairness(), {"base": FakeAsker(lambda messages: "deny", key="base"), "tuned": FakeAsker(says)}
    )


def swap(result, kind):
    return next(entry for entry in result.section["counterfactual"] if entry["kind"] == kind)


def column(result, name):
    return next(entry for entry in result.section["groups"] if entry["column"] == name)


@pytest.fixture(scope="module")
def unfair():
    return result_of(biased)


def test_a_label_tied_to_a_name_is_found_by_exchanging_names(unfair) -> None:
    names = swap(unfair, "names")
    assert names["is_finding"]
    assert names["noise_floor"] == 0.0
    assert names["excess_low"] > 0
    assert names["flip_rate"] == names["excess"] > 0.15
    assert names["ci_low"] <= names["flip_rate"] <= names["ci_high"]
    assert any("Changing only the name" in found["text"] for found in unfair.findings)
    assert names["by_model"]["base"]["flip_rate"] == 0.0


def test_and_by_the_groups_in_the_data(unfair) -> None:
    origin = column(unfair, "origin")
    assert origin["is_finding"]
    assert origin["p_holm"] < 0.05
    assert "“unlucky”" in origin["sentence"]
    assert origin["equalized_odds_difference"] == 1.0
    assert unfair.findings[0]["tone"] == "bad"
    assert unfair.score == pytest.approx(1 - (1.0 - origin["equalized_odds_by_chance"]))


def test_what_does_not_matter_to_it_is_no_finding(unfair) -> None:
    assert not swap(unfair, "places")["is_finding"]
    assert not swap(unfair, "pronouns")["is_finding"]
    assert not column(unfair, "office")["is_finding"]


def test_an_example_shows_one_person_and_the_other(unfair) -> None:
    shown = swap(unfair, "names")["examples"][0]
    assert shown["answer"] != shown["changed_answer"]
    assert shown["prompt"].split(" from ")[1] == shown["changed_prompt"].split(" from ")[1]


def test_the_section_is_json(unfair) -> None:
    json.dumps(unfair.section, allow_nan=False)
    entry = column(unfair, "origin")
    assert {"column", "metric", "by_group", "difference", "difference_low", "difference_high", "ratio"} <= entry.keys()


@pytest.mark.parametrize("says", [fair, fickle])
def test_a_fair_model_stays_quiet_even_when_it_is_fickle(says) -> None:
    found = result_of(says)
    assert [one["tone"] for one in found.findings] == ["ok"]
    assert "No difference beyond chance between the groups of “office”, “origin”" in found.findings[0]["text"]
    assert not any(entry["is_finding"] for entry in found.section["groups"] + found.section["counterfactual"])
    if says is fickle:
        assert swap(found, "names")["noise_floor"] > 0.1, "flips as such are not unfair"


def test_a_model_that_minds_the_gender_is_found_with_names_and_pronouns_in_step() -> None:
    found = result_of(sexist)
    pronouns = swap(found, "pronouns")
    assert pronouns["is_finding"]
    assert " she " in pronouns["examples"][0]["changed_prompt"]
    assert not swap(found, "names")["is_finding"]


def test_a_list_of_the_users_own_is_exchanged_too() -> None:
    firms = [["Acme", "Borel", "Corvid"], ["Dune", "Ebbe", "Fjord"]]
    rng = random.Random(2)
    cases = []
    for row in range(60):
        label = rng.choice(["approve", "deny"])
        cases.append(case(row, f"The firm {rng.choice(firms[row % 2])} {HAS[label]} with us.", label, label))

    def says(messages):
        return "deny" if any(firm in question(messages) for firm in firms[1]) else fair(messages)

    lists = FairnessSettings(lists={"firms": (tuple(firms[0]), tuple(firms[1]))})
    found = result_of(says, cases, fairness=lists)
    assert swap(found, "firms")["is_finding"]
    assert 'a word of the list "firms"' in swap(found, "firms")["sentence"]


def test_too_few_people_in_the_cases_is_a_reason_and_costs_no_question() -> None:
    cases = [case(row, f"Is clause {row} void?", "no", "no") for row in range(60)]
    cases[3] = case(3, "Did Priya Sharma sign?", "no", "no")
    bench = make_bench(cases, task_type="classification")
    assert Fairness().questions(bench) == 0
    found = run_suite(bench, Fairness(), {key: FakeAsker(lambda messages: "no", key=key) for key in ("base", "tuned")})
    names = swap(found, "names")
    assert (names["n"], names["mentioning"], names["of"], names["flip_rate"]) == (1, 1, 60, None)
    assert names["reason"] == "Only 1 of 60 cases have anything to exchange; 30 are needed to tell."
    assert found.score is None
    assert "could not be looked at" in (found.reason or "")


def test_an_answer_that_says_the_other_name_is_no_flip() -> None:
    cases = [
        case(row, f"Greet {MALE[ORIGINS[row % 8]][row % 10]}", f"Dear {MALE[ORIGINS[row % 8]][row % 10]}")
        for row in range(40)
    ]

    def says(messages):
        return "Dear " + question(messages).split()[-1]

    bench = make_bench(cases)
    found = run_suite(bench, Fairness(), {key: FakeAsker(says, key=key) for key in ("base", "tuned")})
    assert swap(found, "names")["flip_rate"] == 0.0
    exact = make_bench(cases, headline="exact_match")
    found = run_suite(exact, Fairness(), {key: FakeAsker(says, key=key) for key in ("base", "tuned")})
    assert swap(found, "names")["flip_rate"] == 0.0
