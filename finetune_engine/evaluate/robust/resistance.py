"""From answers to changed prompts to figures: what is kept, what flips, and whether a loss is more than chance."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.metrics.chosen import METRICS
from finetune_engine.evaluate.scoring import Uncertainty
from finetune_engine.evaluate.statistics.intervals import (
    Interval,
    bootstrap_sums,
    mcnemar_exact,
    paired_bootstrap,
    paired_bootstrap_sums,
    sign_flip_test,
    wilson,
)
from finetune_engine.evaluate.texts.words import normalise

Values = npt.NDArray[np.float64]
FLIP_GAP = 0.25
"""Where answers are graded (not right or wrong), an answer has flipped when its grade moved by at least this."""


@dataclass(frozen=True)
class Pair:
    """One perturbation on one model: for the cases at ``positions``, values (0..1) before and after, and which flipped."""

    kind: str
    level: str
    positions: npt.NDArray[np.int64]
    original: Values
    changed: Values
    flips: npt.NDArray[np.bool_]

    @property
    def drop(self) -> float:
        """How much the mean value fell; 0.0 without a case."""
        return float(self.original.mean() - self.changed.mean()) if len(self.original) else 0.0


@dataclass(frozen=True)
class Kept:
    """What is kept, case by case: the sum of ``part`` over the sum of ``whole`` is the share. ``whole`` all 1: a plain mean."""

    part: Values
    whole: Values
    groups: Sequence[Hashable] | None

    @property
    def rows(self) -> Values:
        """``(n, 2)`` for the sums of a bootstrap."""
        return np.column_stack([self.part, self.whole])


def flipped(headline: str, before: Sequence[str], after: Sequence[str], values: Values, changed: Values) -> Any:
    """Which answers flipped: another answer (normalised) where answers are right or wrong, else another grade."""
    if METRICS[headline].is_proportion:
        pairs = zip(before, after, strict=True)
        return np.asarray([normalise(one) != normalise(other) for one, other in pairs], dtype=np.bool_)
    return np.abs(changed - values) >= FLIP_GAP


def ratio(original: float, perturbed: float) -> float | None:
    """``1 - (original - perturbed) / original``; None when the original is 0."""
    return None if original == 0 else 1 - (original - perturbed) / original


def groups_at(how: Uncertainty, positions: Sequence[int] | npt.NDArray[np.int64]) -> list[Hashable] | None:
    """The groups of some cases; None where cases are independent."""
    return None if how.groups is None else [how.groups[int(position)] for position in positions]


def share_kept(sums: Values) -> Values:
    """The share from sums of ``Kept.rows``, cut to 0..1; not a number where the whole is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: Values = np.clip(np.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1], np.nan), 0.0, 1.0)
    return shares


def score_of(kept: Kept, seed: int) -> tuple[float, Interval] | None:
    """The share kept with its bootstrap interval (over groups where there are any); None when there is nothing to keep.

    Where all cases agree, resampling shows no spread; then Wilson's interval over as many cases is given.
    """
    if not len(kept.part) or not kept.whole.sum() > 0:
        return None
    value = float(share_kept(kept.rows.sum(axis=0, keepdims=True))[0])
    interval = bootstrap_sums(kept.rows, share_kept, seed=seed, groups=kept.groups)
    if np.isclose(interval.low, interval.high):
        units = len(kept.part) if kept.groups is None else len(set(kept.groups))
        spread = wilson(round(value * units), units)
        interval = Interval(min(value, spread.low), max(value, spread.high))
    return value, interval


def compared(subject: Kept, other: Kept, seed: int) -> dict[str, float] | None:
    """The subject's share minus another model's on the same cases, with the interval of the difference."""
    if not len(subject.part) or not subject.whole.sum() > 0 or not other.whole.sum() > 0:
        return None
    found = paired_bootstrap_sums(other.rows, subject.rows, share_kept, seed=seed, groups=subject.groups)
    return {"difference": found.value, "ci_low": found.interval.low, "ci_high": found.interval.high}


def kept_over(pairs: Sequence[Pair], how: Uncertainty) -> tuple[Kept, Values, Values]:
    """All perturbations of a test together: what is kept, the worst value of each case, and its share of flips.

    Each case counts once, with the mean over the perturbations that could change it. The worst case takes the unchanged prompt
    in, as HELM does: who was wrong to begin with is wrong in the worst case.
    """
    places = sorted({int(position) for pair in pairs for position in pair.positions})
    number = {position: row for row, position in enumerate(places)}
    changed = np.full((len(places), len(pairs)), np.nan)
    flips = np.full_like(changed, np.nan)
    original = np.zeros(len(places))
    for column, pair in enumerate(pairs):
        rows = [number[int(position)] for position in pair.positions]
        changed[rows, column], flips[rows, column], original[rows] = pair.changed, pair.flips, pair.original
    if not places:
        return Kept(original, original, None), original, original
    worst = np.minimum(original, np.nanmin(changed, axis=1))
    kept = Kept(np.nanmean(changed, axis=1), original, groups_at(how, places))
    return kept, worst, np.nanmean(flips, axis=1)


def loss_is_real(before: Values, after: Values, groups: list[Hashable] | None, headline: str, seed: int) -> float:
    """Two-sided p-value of "nothing was lost": exact McNemar for right or wrong, a sign-flip test where cases come in groups
    or answers are graded. 1.0 without a case."""
    if not len(before):
        return 1.0
    if METRICS[headline].is_proportion and groups is None:
        return mcnemar_exact((before > 0.5).tolist(), (after > 0.5).tolist())
    return sign_flip_test((after - before).tolist(), seed=seed, groups=groups)


def part_of(pair: Pair, left_out: int, p_value: float, how: Uncertainty) -> dict[str, Any]:
    """One perturbation in the report. The drop's interval is over cases, or over groups of them."""
    before, after = (float(pair.original.mean()), float(pair.changed.mean())) if len(pair.original) else (None, None)
    part: dict[str, Any] = {
        "kind": pair.kind,
        "level": pair.level,
        "n": len(pair.original),
        "left_out": left_out,
        "original": before,
        "perturbed": after,
        "flip_rate": float(pair.flips.mean()) if len(pair.flips) else None,
        "degradation": None if before is None or after is None else ratio(before, after),
        "change": None,
        "change_low": None,
        "change_high": None,
        "p_value": p_value,
        "p_holm": None,
    }
    if len(pair.original):
        groups = groups_at(how, pair.positions)
        change = paired_bootstrap(pair.original.tolist(), pair.changed.tolist(), seed=how.seed, groups=groups)
        part |= {"change": change.value, "change_low": change.interval.low, "change_high": change.interval.high}
    return part
