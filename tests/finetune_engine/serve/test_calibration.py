"""What a confidence is worth: a curve that is learnt, measured on rows it has not seen, and a promise that is kept."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from finetune_engine.errors import UserError
from finetune_engine.serve.calibration import Curve, fit_calibration
from finetune_engine.serve.monotone import isotonic, platt
from finetune_engine.serve.thresholds import Share, delivered_at, p_value, threshold_for

WORLDS = 40


def overconfident(x):
    """It says 0.9 and is right in 6 of 10."""
    return 0.15 + 0.83 * x**4


def honest(x):
    return x


def hollow(x):
    """Right where it is unsure and where it is sure, wrong between: no rising curve fits."""
    return np.where(x < 0.7, 0.8, np.where(x < 0.9, 0.55, 0.97))


def world(seed: int, truth=overconfident, n: int = 1_200):
    draw = np.random.default_rng(seed)
    sure = draw.beta(4, 1.2, n)
    return sure, draw.random(n) < truth(sure)


@pytest.fixture(scope="module")
def found():
    return fit_calibration(*map(list, world(1, n=3_000)), seed=5)


def test_the_error_of_an_overconfident_model_falls_on_rows_that_the_curve_has_not_seen(found):
    before, after = found.report["before"], found.report["after"]
    assert before["ece_10_bin"] > 0.15
    assert after["ece_10_bin"] < 0.05
    assert after["ece_high"] < before["ece_low"]


def test_the_interval_of_the_error_holds_it_and_says_what_chance_alone_would_show(found):
    for part in ("before", "after"):
        told = found.report[part]
        assert 0 <= told["ece_low"] <= told["ece_10_bin"] <= told["ece_high"]
        assert 0 < told["chance"] < 0.06


def test_the_halves_are_all_of_the_rows(found):
    report = found.report
    assert (report["fitting"], report["held_out"], report["rows"]) == (1_500, 1_500, 3_000)
    assert sum(one["n"] for one in report["before"]["bins"]) == 1_500


def test_the_curve_rises_strictly_so_that_it_orders_answers_as_the_model_does(found):
    values = [found.curve.apply(x) for x in np.linspace(0, 1, 5_001)]
    assert all(low < high for low, high in itertools.pairwise(values))
    assert values[0] >= 0
    assert values[-1] <= 1


def test_the_curve_comes_close_to_the_truth_where_there_are_answers(found):
    for x in (0.6, 0.8, 0.95):
        assert found.curve.apply(x) == pytest.approx(float(overconfident(np.float64(x))), abs=0.1)


def test_a_model_that_is_honest_is_left_nearly_as_it_is():
    report = fit_calibration(*map(list, world(3, honest, 4_000)), seed=1).report
    assert report["method"] != "isotonic regression"
    assert report["after"]["ece_10_bin"] < 0.03


def test_the_method_of_least_loss_on_unseen_rows_is_taken(found):
    losses = found.report["log_loss"]
    assert found.report["method"] == min(losses, key=losses.get)
    assert set(losses) == {"as it is", "Platt's sigmoid", "isotonic regression"}


def test_the_same_seed_gives_the_same_curve_and_report():
    rows = [list(one) for one in world(8)]
    assert fit_calibration(*rows, seed=2) == fit_calibration(*rows, seed=2)


def test_too_few_rows_are_refused_with_their_number():
    sure, right = world(1, n=340)
    confidences = [None] * 41 + list(sure[41:])
    with pytest.raises(UserError, match=r"299 judged answers.*300 are needed") as caught:
        fit_calibration(confidences, list(right), seed=1)
    assert caught.value.code == "too_few_rows"


def test_a_model_that_is_always_right_leaves_nothing_to_learn():
    with pytest.raises(UserError) as caught:
        fit_calibration([0.5] * 400, [True] * 400, seed=1)
    assert caught.value.code == "one_kind_only"


def test_answers_without_a_confidence_are_left_out():
    sure, right = world(4)
    report = fit_calibration([*sure, None, float("nan")], [*right, True, True], seed=1).report
    assert report["rows"] == len(sure)


def test_rows_of_a_group_stay_in_one_half():
    sure, right = world(6, n=900)
    groups = [f"contract {n // 30}" for n in range(900)]
    report = fit_calibration(list(sure), list(right), groups=groups, seed=4).report
    assert report["fitting"] % 30 == report["held_out"] % 30 == 0


def test_a_group_named_as_a_rows_number_is_not_that_row():
    sure, right = world(6, n=900)
    alone = [n if n % 2 else str(n + 1) for n in range(900)]
    report = fit_calibration(list(sure), list(right), groups=alone, seed=4).report
    others = [f"group {n}" for n in range(900)]
    assert report["candidates"] == fit_calibration(list(sure), list(right), groups=others, seed=4).report["candidates"]


def test_rows_of_one_group_cannot_be_halved():
    sure, right = world(6, n=900)
    with pytest.raises(UserError) as caught:
        fit_calibration(list(sure), list(right), groups=["one contract"] * 900, seed=4)
    assert caught.value.code == "too_few_groups"


def test_rows_that_are_alike_count_for_less():
    draw = np.random.default_rng(9)
    good = draw.random(40) < 0.7
    sure = np.clip(draw.normal(0.8, 0.1, 1_200), 0, 1)
    right = np.repeat(good, 30)
    alone = fit_calibration(list(sure), list(right), seed=4).report["candidates"][-1]
    grouped = fit_calibration(list(sure), list(right), groups=[n // 30 for n in range(1_200)], seed=4).report
    assert grouped["candidates"][-1]["design_effect"] > 10
    assert alone["design_effect"] == 1
    held = grouped["candidates"][-1]["held_out"]
    assert held["accuracy_high"] - held["accuracy_low"] > 0.05


def test_isotonic_regression_finds_the_steps_of_least_squares():
    x = np.repeat([0.1, 0.3, 0.5, 0.7], 100)
    share = {0.1: 0.2, 0.3: 0.6, 0.5: 0.4, 0.7: 0.9}  # the two in the middle are out of order: their mean is 0.5
    hits = np.concatenate([np.arange(100) < 100 * share[value] for value in (0.1, 0.3, 0.5, 0.7)]).astype(float)
    curve = Curve(*isotonic(x, hits))
    assert [round(curve.apply(value), 2) for value in (0.1, 0.3, 0.5, 0.7)] == [0.2, 0.5, 0.5, 0.9]


def test_platts_sigmoid_undoes_a_sigmoid():
    draw = np.random.default_rng(2)
    sure = draw.uniform(0.02, 0.98, 20_000)
    true = 1 / (1 + np.exp(-(0.5 * np.log(sure / (1 - sure)) - 1)))
    curve = Curve(*platt(sure, (draw.random(20_000) < true).astype(float)))
    apart = [abs(curve.apply(float(x)) - p) for x, p in zip(sure[:500], true[:500], strict=True)]
    assert max(apart) < 0.03


def test_a_confidence_that_says_the_opposite_of_the_truth_becomes_the_mean():
    draw = np.random.default_rng(2)
    sure = draw.uniform(0, 1, 4_000)
    curve = Curve(*platt(sure, (draw.random(4_000) > sure).astype(float)))
    assert curve.apply(0.1) == pytest.approx(curve.apply(0.9), abs=1e-4)


@pytest.mark.parametrize(("truth", "promise"), [(overconfident, 0.7), (honest, 0.85), (hollow, 0.8)])
def test_the_promise_holds_in_at_least_nine_of_ten_worlds(truth, promise):
    kept = chosen = 0
    everywhere = np.random.default_rng(99).beta(4, 1.2, 100_000)
    for seed in range(WORLDS):
        found = fit_calibration(*map(list, world(seed, truth)), seed=seed)
        choice = threshold_for(promise, found.report)
        if choice.threshold is None:
            kept += 1  # nothing was promised
            continue
        chosen += 1
        # the curve rises strictly, so the threshold on it is one on the model's own confidence
        grid = np.linspace(0, 1, 2_001)
        lowest = grid[np.searchsorted([found.curve.apply(float(x)) for x in grid], choice.threshold)]
        above = everywhere[everywhere >= lowest]
        kept += float(truth(above).mean()) >= promise - 1e-3
    assert chosen > WORLDS * 0.5, "a rule that never promises anything is of no use"
    assert kept >= WORLDS * 0.9


def test_a_model_that_is_right_often_enough_everywhere_needs_nobody():
    sure, right = world(3, lambda x: np.full_like(x, 0.97))
    choice = threshold_for(0.9, fit_calibration(list(sure), list(right), seed=1).report)
    assert choice.threshold == 0.0
    assert choice.held_out.coverage == 1.0


def test_a_promise_that_cannot_be_kept_is_not_made():
    choice = threshold_for(0.999, fit_calibration(*map(list, world(1)), seed=1).report)
    assert (choice.threshold, choice.held_out, choice.is_kept) == (None, None, False)
    assert "No threshold makes sure that 99.9%" in choice.reason


def test_a_stricter_promise_never_sends_fewer_answers_to_people(found):
    coverages = [threshold_for(promise, found.report).held_out.coverage for promise in (0.55, 0.6, 0.7)]
    assert coverages == sorted(coverages, reverse=True)


@pytest.mark.parametrize("promise", [0.0, 1.0, 95.0])
def test_a_promise_is_a_share(found, promise):
    with pytest.raises(UserError) as caught:
        threshold_for(promise, found.report)
    assert caught.value.field == "promised"


def test_the_p_value_is_the_exact_binomial_tail():
    # 59 of 59 right is just enough for 95 % at the 5 % level, 58 of 58 is not
    assert p_value({"n": 59, "right": 59}, 0.95) == pytest.approx(0.95**59)
    assert p_value({"n": 59, "right": 59}, 0.95) < 0.05 < p_value({"n": 58, "right": 58}, 0.95)
    assert p_value({"n": 100, "right": 95, "design_effect": 5.0}, 0.9) > p_value({"n": 100, "right": 95}, 0.9)


def test_what_a_threshold_delivers_is_told_of_the_nearest_one_not_below(found):
    candidates = found.report["candidates"]
    told = delivered_at((candidates[4]["threshold"] + candidates[5]["threshold"]) / 2, found.report)
    assert told == Share(**candidates[4]["held_out"])
    assert delivered_at(0.0, found.report).coverage == 1.0


def test_above_the_strictest_threshold_nothing_counts_as_sure(found):
    told = delivered_at(1.0, found.report)
    assert (told.n, told.people, told.accuracy) == (0, 1.0, None)
    assert told.people_low > 0.9


def test_a_held_out_share_counts_as_the_gateway_will(found):
    sure, _right = world(1, n=3_000)
    said = [found.curve.apply(float(value)) for value in sure]
    for one in found.report["candidates"][::8]:
        above = sum(value >= one["threshold"] for value in said)
        assert above == one["n"] + one["held_out"]["n"]
