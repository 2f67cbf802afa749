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
    bins = _bins(sure, hits)
    error = sum(one["n"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / len(known)
    return {"ece_10_bin": error, "n": len(known), "bins": bins, "curve": _curve(sure, hits)}, None


def _is_known(confidence: float | None) -> bool:
    return confidence is not None and not math.isnan(confidence)


def _bins(sure: Values, hits: Values) -> list[dict[str, Any]]:
    # 1.0 belongs to the last bin; bins are closed below.
    place = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    return [
        {
            "low": number / BINS,
            "high": (number + 1) / BINS,
            "n": int(inside.sum()),
            "confidence": float(sure[inside].mean()),
            "accuracy": float(hits[inside].mean()),
        }
        for number in range(BINS)
        if (inside := place == number).any()
    ]


def _curve(sure: Values, hits: Values) -> list[dict[str, float]]:
    """Accuracy on the surest 5 %, 10 %, ... 100 %; cases of equal confidence count by their common mean."""
    _, group, sizes = np.unique(-sure, return_inverse=True, return_counts=True)
    shared = np.bincount(group, weights=hits)[group] / sizes[group]
    running = np.cumsum(shared[np.argsort(-sure, kind="stable")])
    taken = [max(1, round(len(sure) * point / CURVE_POINTS)) for point in range(1, CURVE_POINTS + 1)]
    return [{"coverage": count / len(sure), "accuracy": float(running[count - 1] / count)} for count in taken]
