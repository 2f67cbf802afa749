"""The figure over all suites."""

from __future__ import annotations

import math

import pytest

from finetune_engine.evaluate.conclusions.overall import DEFAULT_WEIGHTS, overall_score
from finetune_engine.evaluate.suites.suite import SuiteResult


def result(score: float | None, reason: str | None = None) -> SuiteResult:
    return SuiteResult(section={}, score=score, reason=reason)


def test_the_mean_follows_the_weights():
    everything = {"quality": result(0.9), "robustness": result(0.5), "fairness": result(1.0)}
    everything |= {"performance": result(0.4), "cost": result(0.2)}
    # .5 x .9 + .2 x .5 + .1 x 1 + .1 x .4 + .1 x .2 = .45 + .10 + .10 + .04 + .02
    assert math.isclose(overall_score(everything)["value"], 0.71)


def test_a_suite_that_was_not_run_gives_its_share_to_the_others_and_is_named():
    found = overall_score({"quality": result(0.9), "robustness": result(0.5)})
    assert math.isclose(found["value"], (0.5 * 0.9 + 0.2 * 0.5) / 0.7)
    assert found["left_out"] == ["fairness", "performance", "cost"]
    assert "without fairness, performance, cost" in found["sentence"]


def test_a_suite_without_a_score_says_why():
    found = overall_score({"quality": result(0.9), "cost": result(None, "No price is known.")})
    assert {"suite": "cost", "score": None, "weight": 0.0, "reason": "No price is known."} in found["parts"]


def test_shares_in_effect_add_up_to_one():
    found = overall_score({"quality": result(0.9), "robustness": result(0.5), "capabilities": result(0.1)})
    assert math.isclose(sum(part["weight"] for part in found["parts"]), 1.0)


def test_what_was_forgotten_counts_only_when_it_has_weight():
    run = {"quality": result(1.0), "capabilities": result(0.0)}
    assert overall_score(run)["value"] == 1.0
    assert math.isclose(overall_score(run, {"quality": 1, "capabilities": 1})["value"], 0.5)


def test_own_weights_are_the_whole_list():
    found = overall_score({"quality": result(0.8), "robustness": result(0.0)}, {"quality": 3})
    assert found["value"] == 0.8
    assert found["weights"] == {"quality": 1.0}


def test_a_failed_rule_is_named_beside_the_score():
    found = overall_score({"quality": result(0.95)}, failed_rules=["Never names a price"])
    assert found["failed_rules"] == ["Never names a price"]
    assert "1 acceptance rule failed, which no score makes up for: Never names a price" in found["sentence"]


def test_without_any_score_there_is_none_and_a_reason():
    found = overall_score({"quality": result(math.nan)})
    assert found["value"] is None
    assert found["reason"]


def test_weights_of_nothing_give_no_score():
    assert overall_score({"quality": result(0.5)}, {"quality": 0.0})["value"] is None


@pytest.mark.parametrize("weight", [-0.1, math.inf, math.nan])
def test_a_weight_below_zero_or_without_end_is_refused(weight):
    with pytest.raises(ValueError, match="weight of quality"):
        overall_score({"quality": result(0.5)}, {"quality": weight})


def test_the_default_weights_are_a_whole():
    assert math.isclose(sum(DEFAULT_WEIGHTS.values()), 1.0)
