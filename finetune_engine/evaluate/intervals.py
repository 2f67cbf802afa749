"""How far a score may be off, and whether a difference is more than chance."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

RESAMPLES = 1_000
CONFIDENCE = 0.95

Indices = npt.NDArray[np.int64]
Statistic = Callable[[Indices], float]


@dataclass(frozen=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A paired difference (second minus first) with its bootstrap interval."""

    value: float
    interval: Interval


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval for a proportion (Wilson 1927). Nothing is known of n = 0: 0 to 1."""
    if n == 0:
        return Interval(0.0, 1.0)
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    # At the ends the formula gives exactly 0 or 1, and rounding would miss it.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(low, high)


def bootstrap(
    statistic: Statistic,
    n: int,
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Percentile bootstrap over ``n`` examples, of a statistic that takes the chosen example numbers.

    Where examples share a group (rows of one document, say), whole groups are drawn, for rows of one group
    are not independent. Raises ValueError for n = 0.
    """
    values = [statistic(chosen) for chosen in resample(n, seed=seed, groups=groups, resamples=resamples)]
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(np.asarray(values, dtype=np.float64), [tail, 1 - tail])
    return Interval(float(low), float(high))


def resample(
    n: int, *, seed: int, groups: Sequence[Hashable] | None = None, resamples: int = RESAMPLES
) -> list[Indices]:
    """The example numbers of each resample; the same seed gives the same draws."""
    if n == 0:
        raise ValueError("there is nothing to draw from")
    generator = np.random.default_rng(seed)
    if groups is None:
        return list(generator.integers(0, n, size=(resamples, n)))
    members: dict[Hashable, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    blocks = [np.asarray(block, dtype=np.int64) for block in members.values()]
    draws = generator.integers(0, len(blocks), size=(resamples, len(blocks)))
    return [np.concatenate([blocks[block] for block in draw]) for draw in draws]


def paired_bootstrap(
    first: Sequence[float],
    second: Sequence[float],
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
) -> Difference:
    """Mean of ``second - first``, example by example, with its interval. Both lists tell of the same examples."""
    if len(first) != len(second):
        raise ValueError("paired lists must have the same length")
    gaps = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    interval = bootstrap(
        lambda chosen: float(gaps[chosen].mean()), len(gaps), seed=seed, groups=groups, resamples=resamples
    )
    return Difference(float(gaps.mean()), interval)


def mcnemar_exact(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Two-sided p-value of the exact McNemar test: are the disagreements split evenly?

    1.0 when the two never disagree.
    """
    if len(first) != len(second):
        raise ValueError("paired lists must have the same length")
    gained = sum(1 for a, b in zip(first, second, strict=True) if b and not a)
    lost = sum(1 for a, b in zip(first, second, strict=True) if a and not b)
    if gained + lost == 0:
        return 1.0
    return float(stats.binomtest(min(gained, lost), gained + lost, 0.5).pvalue)


def sign_flip_test(gaps: Sequence[float], *, seed: int, flips: int = 10_000) -> float:
    """Two-sided p-value for "the mean paired difference is zero", by flipping signs at random.

    Exact in the limit and free of any assumption on the shape; the smallest value it can give is
    1 / (flips + 1).
    """
    values = np.asarray([gap for gap in gaps if gap != 0.0], dtype=np.float64)
    if len(values) == 0:
        return 1.0
    generator = np.random.default_rng(seed)
    seen = abs(values.sum())
    extreme = 0
    for start in range(0, flips, 1_000):
        signs = generator.integers(0, 2, size=(min(1_000, flips - start), len(values))) * 2 - 1
        extreme += int((np.abs(signs @ values) >= seen - 1e-12 * max(1.0, seen)).sum())
    return (extreme + 1) / (flips + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for looking at several metrics at once (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda position: p_values[position])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, position in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[position]))
        corrected[position] = highest
    return corrected
