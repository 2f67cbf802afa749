"""Do several raters mean the same thing? Percent agreement, Krippendorff's alpha, Gwet's AC1 and AC2.

NumPy only, so that a page can compute it. Ratings are given item by item: the labels that the item got, in any order, with
None where a rater gave none. Who gave which label does not matter to any of these figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Level = Literal["nominal", "ordinal", "interval"]
Label = str | float
Ratings = Sequence[Sequence[Label | None]]
Counts = npt.NDArray[np.float64]
"""``(items, categories)``: how many raters gave each category."""

RESAMPLES = 1_000
CONFIDENCE = 0.95
RELIABLE = 0.8
TENTATIVE = 0.667
"""Krippendorff's own thresholds (2004, p. 241): rely on figures above the first, draw tentative conclusions above the second."""

NO_PAIRS = "not measurable: no item has two ratings to compare"
ONE_LABEL = "not measurable: all ratings are the same, so agreement by chance cannot be told from real agreement"


@dataclass(frozen=True)
class Coefficient:
    """One figure with its bootstrap interval over items; ``value`` None with a ``reason`` when it cannot be had.

    ``ci_low`` and ``ci_high`` are also None when fewer than two items can be drawn from.
    """

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Agreement:
    """What the ratings of one review say about agreement. ``items`` have at least two ``ratings``; ``sentence`` sums up."""

    level: Level
    items: int
    ratings: int
    percent: Coefficient
    alpha: Coefficient
    ac1: Coefficient
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def agreement(
    ratings: Ratings, *, level: Level = "nominal", categories: Sequence[Label] | None = None, seed: int = 42
) -> Agreement:
    """All figures at once. ``categories`` are the labels one could choose, in order (AC1 depends on how many there are);
    None takes those that occur. With an ordered ``level`` the third figure is AC2 with ordinal or quadratic weights.

    Raises ValueError when a label is not among the categories, or an interval label is not a number.
    """
    counts, values = _counted(ratings, level, categories)
    pairable = counts[counts.sum(axis=1) >= 2]
    alpha = _coefficient(counts, lambda one: _alpha(one, level, values), seed)
    return Agreement(
        level=level,
        items=len(pairable),
        ratings=int(pairable.sum()),
        percent=_coefficient(counts, _percent, seed, needs_two_labels=False),
        alpha=alpha,
        ac1=_coefficient(counts, lambda one: _gwet(one, _weights(level, values)), seed),
        sentence=_sentence(alpha),
    )


def percent_agreement(ratings: Ratings) -> float | None:
    """The share of rater pairs, averaged over items, that gave the same label; None without a pair."""
    counts, _ = _counted(ratings, "nominal", None)
    return _checked(counts, _percent, needs_two_labels=False).value


def krippendorff_alpha(ratings: Ratings, *, level: Level = "nominal") -> Coefficient:
    """Krippendorff's alpha without interval (Krippendorff 2004, ch. 11): 1 perfect, 0 as by chance, below 0 worse."""
    counts, values = _counted(ratings, level, None)
    return _checked(counts, lambda one: _alpha(one, level, values))


def gwet_ac1(ratings: Ratings, *, level: Level = "nominal", categories: Sequence[Label] | None = None) -> Coefficient:
    """Gwet's AC1 (2008), or AC2 (2014) for an ordered level, without interval. Unlike alpha it stays high when nearly
    everybody says the same and rightly so."""
    counts, values = _counted(ratings, level, categories)
    return _checked(counts, lambda one: _gwet(one, _weights(level, values)))


def _counted(
    ratings: Ratings, level: Level, categories: Sequence[Label] | None
) -> tuple[Counts, npt.NDArray[np.float64]]:
    """Counts per item and category, and the categories' numbers (their rank where they have none)."""
    seen = {label for item in ratings for label in item if label is not None}
    if categories is not None and not seen <= set(categories):
        raise ValueError(f"not among the categories: {sorted(map(str, seen - set(categories)))}")
    order = list(categories) if categories is not None else sorted(seen, key=_sorting)
    place = {label: number for number, label in enumerate(order)}
    counts = np.zeros((len(ratings), max(1, len(order))), dtype=np.float64)
    for row, item in enumerate(ratings):
        for label in item:
            if label is not None:
                counts[row, place[label]] += 1
    if level == "interval":
        return counts, np.asarray([float(label) for label in order] or [0.0], dtype=np.float64)
    return counts, np.arange(counts.shape[1], dtype=np.float64)


def _sorting(label: Label) -> tuple[int, float, str]:
    return (1, 0.0, label) if isinstance(label, str) else (0, float(label), "")


def _checked(counts: Counts, statistic: Callable[[Counts], float], *, needs_two_labels: bool = True) -> Coefficient:
    pairable = counts[counts.sum(axis=1) >= 2]
    if not len(pairable):
        return Coefficient(None, reason=NO_PAIRS)
    if needs_two_labels and np.count_nonzero(pairable.sum(axis=0)) < 2:
        return Coefficient(None, reason=ONE_LABEL)
    return Coefficient(statistic(counts))


def _coefficient(
    counts: Counts, statistic: Callable[[Counts], float], seed: int, *, needs_two_labels: bool = True
) -> Coefficient:
    """The figure with its percentile bootstrap over items. A draw in which it cannot be measured is left out."""
    found = _checked(counts, statistic, needs_two_labels=needs_two_labels)
    if found.value is None or len(counts) < 2:
        return found
    draws = np.random.default_rng(seed).integers(0, len(counts), size=(RESAMPLES, len(counts)))
    values = [_checked(counts[draw], statistic, needs_two_labels=needs_two_labels).value for draw in draws]
    kept = [value for value in values if value is not None]
    if len(kept) < RESAMPLES / 2:
        return found
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(kept, [tail, 1 - tail])
    return Coefficient(found.value, float(low), float(high))


def _percent(counts: Counts) -> float:
    pairable = counts[counts.sum(axis=1) >= 2]
    raters = pairable.sum(axis=1)
    same = (pairable * (pairable - 1)).sum(axis=1) / (raters * (raters - 1))
    return float(same.mean())


def _alpha(counts: Counts, level: Level, values: npt.NDArray[np.float64]) -> float:
    """1 - observed / expected disagreement, over the coincidence matrix of Krippendorff (2004, p. 222)."""
    pairable = counts[counts.sum(axis=1) >= 2]
    share = pairable / (pairable.sum(axis=1, keepdims=True) - 1)
    coincidences = share.T @ pairable
    coincidences[np.diag_indices_from(coincidences)] -= share.sum(axis=0)
    totals = coincidences.sum(axis=1)
    distance = _distances(level, values, totals)
    expected = (np.outer(totals, totals) * distance).sum() / (totals.sum() - 1)
    return float(1 - (coincidences * distance).sum() / expected)


def _distances(
    level: Level, values: npt.NDArray[np.float64], totals: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Squared differences between categories; ordinal ones count the ratings that lie between two ranks."""
    if level == "nominal":
        return 1.0 - np.eye(len(values))
    if level == "interval":
        return np.asarray((values[:, None] - values[None, :]) ** 2, dtype=np.float64)
    # The number of ratings up to the middle of each rank: their difference is the published sum.
    middle = np.cumsum(totals) - totals / 2
    return np.asarray((middle[:, None] - middle[None, :]) ** 2, dtype=np.float64)


def _weights(level: Level, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How near two categories count as agreeing: identity, Gwet's ordinal, or quadratic weights."""
    size = len(values)
    if level == "nominal" or size < 2:
        return np.eye(size)
    if level == "interval":
        gaps = (values[:, None] - values[None, :]) ** 2
        return np.asarray(1 - gaps / gaps.max(), dtype=np.float64)
    steps = np.abs(np.subtract.outer(np.arange(size), np.arange(size))) + 1.0
    between = steps * (steps - 1) / 2
    return np.asarray(1 - between / between.max(), dtype=np.float64)


def _gwet(counts: Counts, weights: npt.NDArray[np.float64]) -> float:
    """Gwet (2014), handbook, chapter 5: agreement by chance from how mixed the labels are."""
    rated = counts[counts.sum(axis=1) >= 1]
    pairable = counts[counts.sum(axis=1) >= 2]
    raters = pairable.sum(axis=1)
    seen = (pairable * (pairable @ weights - 1)).sum(axis=1) / (raters * (raters - 1))
    share = (rated / rated.sum(axis=1, keepdims=True)).mean(axis=0)
    size = len(share)
    chance = weights.sum() / (size * (size - 1)) * float((share * (1 - share)).sum())
    return float((seen.mean() - chance) / (1 - chance))


def _sentence(alpha: Coefficient) -> str:
    if alpha.value is None:
        return f"How far the raters agree is {alpha.reason}."
    if alpha.value >= RELIABLE:
        return "The raters mean the same thing: conclusions can rest on these votes."
    if alpha.value >= TENTATIVE:
        return "The raters mostly mean the same thing: take conclusions as tentative."
    return "The raters often differ: talk about the cases they disagree on and sharpen the instructions before relying on it."
