"""Does the model know when it is right? Its confidence against how often it was right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FEWEST_CASES = 300
"""Cases with a known confidence under which ten bins say nothing (see docs/statistics.md)."""
BINS = 10
CURVE_POINTS = 20

Values = npt.NDArray[np.float64]


def calibration_of(
    confidences: Sequence[float | None], right: Sequence[bool]
) -> tuple[dict[str, Any] | None, str | None]:
    """``(calibration, None)`` or ``(None, reason)``. ``confidences`` are 0..1, None where nobody knows.

    The calibration is ``{ece_10_bin, n, bins: [{low, high, n, confidence, accuracy}], curve: [{coverage, accuracy}]}``:
    bins of equal width, empty ones left out; ``ece_10_bin`` is the mean distance between confidence and accuracy, weighted by
    the size of the bins (Guo et al. 2017); the curve says how often the model is right on the share of cases it is surest of.
    """
    if len(confidences) != len(right):
        raise ValueError("one confidence and one judgement for each case")
    known = [(value, is_right) for value, is_right in zip(confidences, right, strict=True) if _is_known(value)]
    if not known:
        return None, "This model does not say how sure it is of an answer."
    if len(known) < FEWEST_CASES:
        return None, f"{len(known)} cases are too few to judge confidence by; {FEWEST_CASES} are needed."
    sure = np.clip(np.asarray([value for value, _ in known], dtype=np.float64), 0.0, 1.0)
    hits = np.asarray([is_right for _, is_right in known], dtype=np.float64)
    sums = bin_rows(sure, hits).sum(axis=0)
    error = float(calibration_error(sums[None, :])[0])
    return {"ece_10_bin": error, "n": len(known), "bins": filled_bins(sums), "curve": _curve(sure, hits)}, None


def bin_of(sure: Values) -> npt.NDArray[np.int64]:
    """The number of each confidence's bin. 1.0 belongs to the last bin; bins are closed below."""
    return np.minimum((sure * BINS).astype(np.int64), BINS - 1)


def bin_rows(sure: Values, hits: Values) -> Values:
    """``(n, 3 * BINS)``: for each answer, in the columns of its bin, 1, its confidence and whether it was right (0 or 1).

    Sums of rows are all that the figures below need, so whole resamples can be read off sums.
    """
    rows = np.zeros((len(sure), 3 * BINS))
    every, place = np.arange(len(sure)), bin_of(sure)
    rows[every, place] = 1.0
    rows[every, BINS + place] = sure
    rows[every, 2 * BINS + place] = hits
    return rows


def calibration_error(sums: Values) -> Values:
    """``(m,)``: the mean distance between confidence and accuracy, weighted by the size of the bins (Guo et al. 2017), from
    ``(m, 3 * BINS)`` summed rows."""
    n, sure, hits = sums[:, :BINS], sums[:, BINS : 2 * BINS], sums[:, 2 * BINS :]
    error: Values = np.abs(sure - hits).sum(axis=1) / np.maximum(n.sum(axis=1), 1.0)
    return error


def filled_bins(sums: Values) -> list[dict[str, Any]]:
    """``{low, high, n, confidence, accuracy}`` of each bin that is not empty, from summed rows ``(3 * BINS,)``."""
    n, sure, hits = sums[:BINS], sums[BINS : 2 * BINS], sums[2 * BINS :]
    return [
        {
            "low": number / BINS,
            "high": (number + 1) / BINS,
            "n": int(n[number]),
            "confidence": float(sure[number] / n[number]),
            "accuracy": float(hits[number] / n[number]),
        }
        for number in range(BINS)
        if n[number]
    ]


def _is_known(confidence: float | None) -> bool:
    return confidence is not None and not math.isnan(confidence)


def _curve(sure: Values, hits: Values) -> list[dict[str, float]]:
    """Accuracy on the surest 5 %, 10 %, ... 100 %; cases of equal confidence count by their common mean."""
    _, group, sizes = np.unique(-sure, return_inverse=True, return_counts=True)
    shared = np.bincount(group, weights=hits)[group] / sizes[group]
    running = np.cumsum(shared[np.argsort(-sure, kind="stable")])
    taken = [max(1, round(len(sure) * point / CURVE_POINTS)) for point in range(1, CURVE_POINTS + 1)]
    return [{"coverage": count / len(sure), "accuracy": float(running[count - 1] / count)} for count in taken]
