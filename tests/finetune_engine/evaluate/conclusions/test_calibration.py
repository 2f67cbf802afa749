import numpy as np
import pytest

from finetune_engine.evaluate.conclusions.calibration import calibration_of


def test_hand_counted_bins_give_the_hand_counted_error():
    # 300 cases at 0.95 of which 270 right, 100 at 0.55 of which 75 right: (300 x 0.05 + 100 x 0.2) / 400.
    sure = [0.95] * 300 + [0.55] * 100
    right = [True] * 270 + [False] * 30 + [True] * 75 + [False] * 25
    found, reason = calibration_of(sure, right)
    assert reason is None
    assert found["ece_10_bin"] == pytest.approx((300 * 0.05 + 100 * 0.2) / 400)
    assert [(one["low"], one["n"]) for one in found["bins"]] == [(0.5, 100), (0.9, 300)]
    assert found["n"] == 400


def test_the_error_is_that_of_a_computation_of_its_own():
    generator = np.random.default_rng(1)
    sure = generator.random(1_000)
    right = generator.random(1_000) < sure**2
    expected = 0.0
    for low in np.arange(10) / 10:
        inside = (sure >= low) & (sure < low + 0.1)
        expected += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    found, _ = calibration_of(sure.tolist(), right.tolist())
    assert found["ece_10_bin"] == pytest.approx(expected)
    assert found["ece_10_bin"] > 0.1


def test_certainty_belongs_to_the_last_bin():
    found, _ = calibration_of([1.0] * 300, [True] * 300)
    assert [(one["low"], one["high"]) for one in found["bins"]] == [(0.9, 1.0)]
    assert found["ece_10_bin"] == 0.0


def test_the_surest_cases_are_right_more_often():
    generator = np.random.default_rng(2)
    sure = generator.random(500)
    found, _ = calibration_of(sure.tolist(), (generator.random(500) < sure).tolist())
    curve = found["curve"]
    assert curve[0]["coverage"] == pytest.approx(0.05)
    assert curve[-1]["coverage"] == 1.0
    assert curve[0]["accuracy"] > 0.85
    assert curve[-1]["accuracy"] < 0.6


def test_the_curve_does_not_depend_on_the_order_of_equally_sure_cases():
    right = [True] * 200 + [False] * 200
    forwards, _ = calibration_of([0.7] * 400, right)
    backwards, _ = calibration_of([0.7] * 400, right[::-1])
    assert forwards["curve"] == backwards["curve"]
    assert {point["accuracy"] for point in forwards["curve"]} == {0.5}


@pytest.mark.parametrize("sure", [[0.5] * 299, [0.5] * 250 + [None] * 300])
def test_under_three_hundred_known_cases_there_is_a_reason_instead(sure):
    found, reason = calibration_of(sure, [True] * len(sure))
    assert found is None
    assert "300 are needed" in reason


def test_a_model_that_is_never_sure_has_no_calibration():
    found, reason = calibration_of([None] * 400, [True] * 400)
    assert found is None
    assert "does not say how sure" in reason


def test_a_confidence_that_is_no_number_is_not_known():
    found, _ = calibration_of([0.9] * 300 + [float("nan"), None], [True] * 302)
    assert found["n"] == 300
