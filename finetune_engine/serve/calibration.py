"""From how sure a model says it is to how often it is right when it says so."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune_engine.errors import UserError
from finetune_engine.evaluate.conclusions.calibration import BINS, bin_of, bin_rows, calibration_error, filled_bins
from finetune_engine.evaluate.statistics.intervals import (
    Interval,
    bootstrap_sums,
    mean_of_sums,
    mean_rows,
    resampled_values,
    wilson,
)
from finetune_engine.serve.monotone import Points, identity, isotonic, platt

FEWEST_ROWS = 300
FOLDS = 5
CURVE_POINTS = 20
STEPS = 40
"""Thresholds that are looked at: one for each fortieth of the answers."""
CHANCE_DRAWS = 200

Values = npt.NDArray[np.float64]
Chosen = npt.NDArray[np.bool_]
Blocks = npt.NDArray[np.int64]
"""The number of each row's group."""
METHODS: dict[str, Callable[[Values, Values], Points]] = {
    "as it is": identity,
    "Platt's sigmoid": platt,
    "isotonic regression": isotonic,
}
"""From the stiffest to the most pliant: of equal ones the first is taken."""


@dataclass(frozen=True)
class Curve:
    """A rising line through points: ``x`` the model's own confidence, ``y`` the share of right answers, both 0..1."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def apply(self, confidence: float) -> float:
        """The share of answers with this confidence that are right; outside the points the nearest one's."""
        if confidence <= self.x[0]:
            return self.y[0]
        if confidence >= self.x[-1]:
            return self.y[-1]
        place = bisect_right(self.x, confidence)
        left, right = self.x[place - 1], self.x[place]
        share = (confidence - left) / (right - left)
        return self.y[place - 1] + share * (self.y[place] - self.y[place - 1])

    def as_dict(self) -> dict[str, list[float]]:
        """JSON values, not rounded: the line must go on rising."""
        return {"x": list(self.x), "y": list(self.y)}


@dataclass(frozen=True)
class Calibrated:
    """A curve, and what was measured on the rows that it did not learn from (see ``fit_calibration``)."""

    curve: Curve
    report: dict[str, Any]


def fit_calibration(
    confidences: Sequence[float | None],
    right: Sequence[bool],
    *,
    groups: Sequence[Hashable] | None = None,
    seed: int,
) -> Calibrated:
    """Learn a curve from one half of the answers and measure it on the other.

    ``confidences`` are 0..1, None (left out) where the model gave none; rows of one of the ``groups`` stay in one half. The
    method of least cross-validated log loss on the learning half is taken. The report is ``{method, log_loss: {method: nats},
    rows, fitting, held_out, accuracy, seed, before, after, curve, candidates}``: ``before`` and ``after`` are
    ``{ece_10_bin, ece_low, ece_high, chance, bins}`` on held-out rows, ``chance`` what a perfect curve would show on so few rows;
    ``curve`` is ``[{coverage, accuracy, low, high, threshold}]`` and ``candidates`` what ``threshold_for`` reads.

    Raises UserError ``too_few_rows`` under FEWEST_ROWS known confidences, ``too_few_groups`` when they cannot be halved,
    ``one_kind_only`` when all are right or all wrong.
    """
    sure, hits, blocks = _known(confidences, right, groups)
    generator = np.random.default_rng(seed)
    learning = _shares(len(sure), 2, generator, blocks) == 0
    if min(learning.sum(), (~learning).sum()) < FEWEST_ROWS // 3:
        raise UserError("too_few_groups", _TOO_ALIKE)
    if hits[learning].min() == hits[learning].max():
        raise UserError("one_kind_only", _ONE_KIND)
    losses = _log_losses(sure[learning], hits[learning], generator, _part(blocks, learning))
    method = min(METHODS, key=lambda name: losses[name])
    curve = Curve(*METHODS[method](sure[learning], hits[learning]))
    calibrated = np.asarray([curve.apply(float(value)) for value in sure])
    held = _Held(hits[~learning], _part(blocks, ~learning), seed)
    report = {
        "method": method,
        "log_loss": losses,
        "rows": len(sure),
        "fitting": int(learning.sum()),
        "held_out": int((~learning).sum()),
        "accuracy": float(hits.mean()),
        "seed": seed,
        "before": held.calibration(sure[~learning]),
        "after": held.calibration(calibrated[~learning]),
        "curve": held.coverage_curve(calibrated[~learning]),
        "candidates": _candidates(calibrated, hits, learning, blocks, held),
    }
    return Calibrated(curve, report)


_TOO_ALIKE = (
    "Too many rows belong to one group: they cannot be divided into a half to learn from and a half to judge by."
)
_ONE_KIND = "All answers are right, or all are wrong: there is nothing to tell them apart by."


def _known(
    confidences: Sequence[float | None], right: Sequence[bool], groups: Sequence[Hashable] | None
) -> tuple[Values, Values, Blocks | None]:
    """Confidence, 1 or 0, and group of the answers whose confidence is known. Raises UserError when they are too few."""
    if len(confidences) != len(right):
        raise ValueError("one confidence and one judgement for each answer")
    known = [at for at, value in enumerate(confidences) if value is not None and not math.isnan(value)]
    _refuse(len(known), sum(bool(right[at]) for at in known))
    sure = np.clip(np.asarray([confidences[at] for at in known], dtype=np.float64), 0.0, 1.0)
    hits = np.asarray([bool(right[at]) for at in known], dtype=np.float64)
    return sure, hits, None if groups is None else _numbered([groups[at] for at in known])


def _refuse(known: int, right: int) -> None:
    if known < FEWEST_ROWS:
        raise UserError(
            "too_few_rows",
            f"{known:,} judged answers with a known confidence are too few to learn from; {FEWEST_ROWS} are needed.",
        )
    if right in (0, known):
        raise UserError("one_kind_only", _ONE_KIND)


def _numbered(groups: Sequence[Hashable]) -> Blocks:
    """The groups as numbers, in order of first appearance."""
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    return np.asarray([names[name] for name in groups], dtype=np.int64)


def _part(blocks: Blocks | None, chosen: Chosen) -> Blocks | None:
    return None if blocks is None else blocks[chosen]


def _shares(n: int, parts: int, generator: np.random.Generator, blocks: Blocks | None) -> npt.NDArray[np.int64]:
    """The number of the part of each row; rows of one group are in one part."""
    if blocks is None:
        return np.asarray(generator.permutation(n) % parts, dtype=np.int64)
    names, of_row = np.unique(blocks, return_inverse=True)
    of_group = np.asarray(generator.permutation(len(names)) % parts, dtype=np.int64)
    shares: Blocks = of_group[of_row]
    return shares


def _log_losses(sure: Values, hits: Values, generator: np.random.Generator, blocks: Blocks | None) -> dict[str, float]:
    """Mean log loss (nats) of each method on rows that it has not seen."""
    folds = _shares(len(sure), FOLDS, generator, blocks)
    total = dict.fromkeys(METHODS, 0.0)
    for fold in range(FOLDS):
        out = folds == fold
        for name, learn in METHODS.items():
            curve = Curve(*learn(sure[~out], hits[~out]))
            said = np.clip([curve.apply(float(value)) for value in sure[out]], 1e-6, 1 - 1e-6)
            total[name] -= float(np.where(hits[out] > 0.5, np.log(said), np.log1p(-said)).sum())
    return {name: loss / len(sure) for name, loss in total.items()}


class _Held:
    """The rows that the curve did not learn from."""

    def __init__(self, hits: Values, blocks: Blocks | None, seed: int) -> None:
        self._hits, self._blocks, self._seed = hits, blocks, seed

    def calibration(self, said: Values) -> dict[str, Any]:
        """``{ece_10_bin, ece_low, ece_high, chance, bins}``; the interval is the bootstrap's, moved back by its bias, for drawing
        again repeats the noise and makes the error look larger."""
        rows = bin_rows(said, self._hits)
        error = float(calibration_error(rows.sum(axis=0, keepdims=True))[0])
        drawn = resampled_values(self._by_group(rows), calibration_error, seed=self._seed)
        low, high = np.quantile(drawn, [0.025, 0.975]) - (drawn.mean() - error)
        return {
            "ece_10_bin": error,
            "ece_low": max(0.0, float(min(low, error))),
            "ece_high": float(max(high, error)),
            "chance": _chance(said, self._seed),
            "bins": _bins(rows.sum(axis=0)),
        }

    def share(self, chosen: Chosen) -> dict[str, Any]:
        """How many rows are chosen and how often those are right, each with its interval."""
        n, right = int(chosen.sum()), int(self._hits[chosen].sum())
        coverage = self._interval(chosen.astype(np.float64), None)
        accuracy = self._interval(self._hits, chosen)
        return {
            "n": n,
            "right": right,
            "coverage": n / len(chosen),
            "coverage_low": coverage.low,
            "coverage_high": coverage.high,
            "accuracy": right / n if n else None,
            "accuracy_low": accuracy.low,
            "accuracy_high": accuracy.high,
        }

    def coverage_curve(self, said: Values) -> list[dict[str, float]]:
        """Accuracy on the surest 5 %, 10 %, ... 100 %; answers that are equally sure go in together."""
        ordered = np.sort(said)[::-1]
        found = []
        for point in range(1, CURVE_POINTS + 1):
            threshold = float(ordered[max(1, round(len(ordered) * point / CURVE_POINTS)) - 1])
            told = self.share(said >= threshold)
            found.append(
                {
                    "coverage": told["coverage"],
                    "accuracy": told["accuracy"],
                    "low": told["accuracy_low"],
                    "high": told["accuracy_high"],
                    "threshold": threshold,
                }
            )
        return found

    def _interval(self, values: Values, chosen: Chosen | None) -> Interval:
        if self._blocks is None:
            counted = values if chosen is None else values[chosen]
            return wilson(int(counted.sum()), len(counted))
        if chosen is None:
            rows = mean_rows(values)
        else:
            rows = np.column_stack([values * chosen, chosen.astype(np.float64)])
            if not chosen.any():
                return Interval(0.0, 1.0)
        return bootstrap_sums(self._by_group(rows), mean_of_sums, seed=self._seed)

    def _by_group(self, rows: Values) -> Values:
        """The rows added up within each group: what is drawn as a whole."""
        if self._blocks is None:
            return rows
        names, of_row = np.unique(self._blocks, return_inverse=True)
        sums = np.zeros((len(names), rows.shape[1]))
        np.add.at(sums, of_row, rows)
        return sums


def _chance(said: Values, seed: int) -> float:
    """The mean error when answers are right exactly as often as is said: what so few rows show by chance."""
    generator = np.random.default_rng(seed)
    place = bin_of(said)
    sums = np.bincount(place, weights=said, minlength=BINS)
    errors = [
        np.abs(sums - np.bincount(place, weights=generator.random(len(said)) < said, minlength=BINS)).sum() / len(said)
        for _ in range(CHANCE_DRAWS)
    ]
    return float(np.mean(errors))


def _bins(sums: Values) -> list[dict[str, Any]]:
    """The bins that are not empty, with the interval of each accuracy."""
    found = []
    for one in filled_bins(sums):
        interval = wilson(round(one["accuracy"] * one["n"]), one["n"])
        found.append(one | {"accuracy_low": interval.low, "accuracy_high": interval.high})
    return found


def _candidates(
    said: Values, hits: Values, learning: Chosen, blocks: Blocks | None, held: _Held
) -> list[dict[str, Any]]:
    """Thresholds from the strictest down to none at all, each with its counts on both halves. They lie where a fortieth more
    of the learning half is above them, whatever was right there: the tests to come may not depend on it."""
    ordered = np.sort(said[learning])[::-1]
    thresholds: list[float] = []
    for step in range(1, STEPS):
        value = float(ordered[max(1, round(len(ordered) * step / STEPS)) - 1])
        if not thresholds or value < thresholds[-1]:
            thresholds.append(value)
    found = []
    for threshold in [*thresholds, 0.0]:
        above = (said >= threshold) & learning
        found.append(
            {
                "threshold": threshold,
                "n": int(above.sum()),
                "right": int(hits[above].sum()),
                "design_effect": _design_effect(hits[above], _part(blocks, above)),
                "held_out": held.share((said >= threshold)[~learning]),
            }
        )
    return found


def _design_effect(hits: Values, blocks: Blocks | None) -> float:
    """How many rows count as one, where rows of a group are alike (Kish): the variance of the share by groups over that of
    independent rows, 1 at least. Where all are right nothing can be seen, and a group counts as one row."""
    if blocks is None or not len(hits):
        return 1.0
    share = float(hits.mean())
    names, of_row = np.unique(blocks, return_inverse=True)
    if share in (0.0, 1.0):
        return len(hits) / len(names)
    gaps = np.bincount(of_row, weights=hits - share)
    return max(1.0, float((gaps**2).sum() / (len(hits) * share * (1 - share))))
