"""A loss chart in one sentence."""

from __future__ import annotations

import pytest

from jobs_app.readings import reading


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
