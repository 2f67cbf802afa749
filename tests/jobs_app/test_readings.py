"""A loss chart in one sentence."""

from __future__ import annotations

import pytest

from jobs_app.readings import best_step, reading, smoothed_gap


def points(*valid: float | None, train: float | str = 0.5):
    """One point per step; None is a step without a check."""
    return [
        {"step": step, "train_loss": train} | ({"valid_loss": loss} if loss is not None else {})
        for step, loss in enumerate(valid, start=1)
    ]


@pytest.mark.parametrize(
    ("given", "is_over", "words"),
    [
        ([], False, ""),
        (points(1.0), False, "Too early"),
        (points(1.0), True, ""),
        (points(1.0, None, 0.5), False, "Learning well"),
        (points(1.0, None, 0.5), True, "fell from 1.00 to 0.50"),
        (points(1.0, 0.5, 0.8), False, "From step 2 it began to memorise"),
        (points(1.0, 1.0), False, "hardly gets better"),
        (points(1.0, 0.9, train="nan"), False, "no longer a number"),
        (points(1.0, float("nan"), 0.5), False, "Learning well"),
    ],
)
def test_the_sentence_fits_the_curve(given, is_over, words):
    assert words in reading(given, is_over=is_over)
    assert bool(words) == bool(reading(given, is_over=is_over))


def run(train: list[float], valid: dict[int, float], speed: list[float] | None = None):
    """Steps from 1 on with these training losses, and checks at these steps."""
    rows = [{"step": n, "train_loss": loss} for n, loss in enumerate(train, start=1)]
    for row in rows:
        if row["step"] in valid:
            row["valid_loss"] = valid[row["step"]]
        if speed:
            row["tokens_per_second"] = speed[row["step"] - 1]
    return rows


def test_a_gap_above_a_half_is_called_possible_overfitting_and_names_the_best_step():
    rows = run([0.3] * 8, {4: 0.95, 8: 0.95})
    assert smoothed_gap(rows) == pytest.approx(0.65)
    assert "Possible overfitting" in reading(rows)
    assert "step 4" in reading(rows)
    assert best_step(rows) == 4


def test_one_check_above_the_gap_among_others_below_is_no_overfitting():
    assert "Possible overfitting" not in reading(run([0.5] * 12, {4: 0.6, 8: 0.6, 12: 1.1}))


def test_checks_that_bring_nothing_any_more_are_a_plateau():
    text = reading(run([0.5] * 10, {2: 1.0, 4: 0.8, 6: 0.8, 8: 0.799, 10: 0.8}))
    assert "It stands still" in text


def test_a_slow_but_steady_fall_is_no_plateau():
    assert "stands still" not in reading(run([0.5] * 10, {2: 1.0, 4: 0.9, 6: 0.8, 8: 0.75, 10: 0.7}))


def test_a_training_loss_that_climbs_is_warned_of_before_it_breaks():
    text = reading(run([0.4] * 30 + [0.9] * 10, {20: 0.6, 40: 0.6}))
    assert "climbs again" in text


def test_half_the_usual_speed_is_slow():
    rows = run([0.4] * 40, {20: 0.6, 40: 0.55}, speed=[1000.0] * 30 + [400.0] * 10)
    assert "400 tokens per second instead of 1,000" in reading(rows)
    assert "slow" not in reading(rows, is_over=True)
