"""How far a score may be off, and whether a difference is more than chance. Standard library and numpy only.

A statistic of many cases is computed from **sums**: each case has a row of numbers, the rows of the cases drawn are added up, and
the statistic is read off the total (a mean from ``[value, 1]``, BLEU from its counts of n-grams). So a thousand resamples are one
multiplication of matrices, whatever the metric.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

RESAMPLES = 1_000
FLIPS = 10_000
CONFIDENCE = 0.95
FEWEST_DISCORDANT = 60
"""Differing pairs from which McNemar's mid-p value is shown beside the exact one."""

_DRAWN_AT_ONCE = 4_000_000
"""Numbers drawn in one block of resamples (32 MB)."""

_SWAP_BUDGET = 4e9
"""Multiplications one swap test may take; from there it makes fewer flips, never under a thousand."""

Indices = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Statistic = Callable[[Indices], float]
OfSums = Callable[[Values], Values]
"""From summed rows ``(m, k)`` to ``m`` values of the statistic."""


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
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
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
    are not independent. Raises ValueError for n = 0. ``bootstrap_sums`` is faster where the statistic can be had from sums.
    """
    values = [statistic(chosen) for chosen in resample(n, seed=seed, groups=groups, resamples=resamples)]
    return _percentiles(np.asarray(values, dtype=np.float64), confidence)


def resample(
    n: int, *, seed: int, groups: Sequence[Hashable] | None = None, resamples: int = RESAMPLES
) -> Iterator[Indices]:
    """The example numbers of each resample, one after the other; the same seed gives the same draws."""
    if n == 0:
        raise ValueError("there is nothing to draw from")
    blocks = None if groups is None else _members(groups)
    for draws in _draws(n if blocks is None else len(blocks), seed, resamples):
        for draw in draws:
            yield draw if blocks is None else np.concatenate([blocks[block] for block in draw])


def bootstrap_sums(
    rows: Values,
    statistic: OfSums,
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Percentile bootstrap of a statistic of summed rows; ``rows`` is ``(n, k)``, one row for each case.

    Whole groups are drawn where there are any. Raises ValueError when there is no row.
    """
    values = resampled_values(rows, statistic, seed=seed, groups=groups, resamples=resamples)
    return _percentiles(values, confidence)


def resampled_values(
    rows: Values,
    statistic: OfSums,
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
) -> Values:
    """The statistic in each resample, ``(resamples,)``: what ``bootstrap_sums`` takes its percentiles from."""
    return statistic(_resampled(_by_group(rows, groups), seed, resamples))


def paired_bootstrap_sums(
    first: Values,
    second: Values,
    statistic: OfSums,
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Difference:
    """``statistic(second) - statistic(first)`` with its interval: both are computed on the same cases in each resample."""
    if first.shape != second.shape:
        raise ValueError("paired rows must have the same shape")
    width = first.shape[1]
    totals = _resampled(_by_group(np.hstack([first, second]), groups), seed, resamples)
    gaps = statistic(totals[:, width:]) - statistic(totals[:, :width])
    whole = statistic(second.sum(axis=0, keepdims=True)) - statistic(first.sum(axis=0, keepdims=True))
    return Difference(float(whole[0]), _percentiles(gaps, confidence))


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
    interval = bootstrap_sums(mean_rows(gaps), mean_of_sums, seed=seed, groups=groups, resamples=resamples)
    return Difference(float(gaps.mean()), interval)


def mean_rows(values: Sequence[float] | Values) -> Values:
    """The rows ``[value, 1]`` whose sums give the mean."""
    column = np.asarray(values, dtype=np.float64)
    return np.column_stack([column, np.ones_like(column)])


def mean_of_sums(sums: Values) -> Values:
    """The means from sums of ``mean_rows``."""
    means: Values = sums[:, 0] / np.maximum(sums[:, 1], 1.0)
    return means


def discordant(first: Sequence[bool], second: Sequence[bool]) -> tuple[int, int]:
    """How many cases only the second got right, and how many only the first."""
    if len(first) != len(second):
        raise ValueError("paired lists must have the same length")
    gained = sum(1 for a, b in zip(first, second, strict=True) if b and not a)
    lost = sum(1 for a, b in zip(first, second, strict=True) if a and not b)
    return gained, lost


def mcnemar_exact(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Two-sided p-value of the exact McNemar test: are the disagreements split evenly?

    1.0 when the two never disagree. The cases must be independent of each other; see ``swap_test`` for grouped ones.
    """
    return sign_test(*discordant(first, second))


def mcnemar_mid_p(first: Sequence[bool], second: Sequence[bool]) -> float:
    """McNemar's mid-p value (Fagerland, Lydersen and Laake 2013): less cautious than the exact one, and closer to its
    nominal level; to be read from FEWEST_DISCORDANT differing pairs on."""
    return sign_test(*discordant(first, second), mid=True)


def sign_test(gained: int, lost: int, *, mid: bool = False) -> float:
    """Two-sided binomial p-value of an even split, by exact integer sums; ``mid`` counts the split seen by half."""
    pairs, fewer = gained + lost, min(gained, lost)
    if pairs == 0:
        return 1.0
    ways, total = 1, 0
    for k in range(fewer):
        total += ways
        ways = ways * (pairs - k) // (k + 1)
    # Now ``total`` is the number of ways below the split seen, ``ways`` that of the split itself.
    return min(1.0, (2 * total + (1 if mid else 2) * ways) / (1 << pairs))


def sign_flip_test(
    gaps: Sequence[float], *, seed: int, flips: int = FLIPS, groups: Sequence[Hashable] | None = None
) -> float:
    """Two-sided p-value for "the mean paired difference is zero", by flipping signs: of cases, or of whole groups.

    Every pattern of signs is counted where there are no more of them than ``flips``; else ``flips`` are drawn, and the
    smallest value is 1 / (flips + 1). It assumes nothing on the shape.
    """
    column = np.asarray(gaps, dtype=np.float64)
    return swap_test(
        mean_rows(np.zeros_like(column)), mean_rows(column), mean_of_sums, seed=seed, groups=groups, flips=flips
    )


def swap_test(
    first: Values,
    second: Values,
    statistic: OfSums,
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    flips: int = FLIPS,
) -> float:
    """Two-sided p-value for "it does not matter which of the two answered", for any statistic of summed rows.

    Case by case (group by group where there are groups) a coin decides whether the two are swapped: approximate
    randomisation (Noreen 1989; Riezler and Maxwell 2005). Counted in full where the swaps are few, as in ``sign_flip_test``.
    """
    if first.shape != second.shape:
        raise ValueError("paired rows must have the same shape")
    start, end = first.sum(axis=0, keepdims=True), second.sum(axis=0, keepdims=True)
    steps = _by_group(second - first, groups)
    steps = steps[np.any(steps != 0.0, axis=1)]
    if not len(steps):
        return 1.0
    seen = abs(float((statistic(end) - statistic(start))[0]))
    bound = seen - 1e-12 * max(1.0, seen)
    extreme, tried = 0, 0
    for swaps in _swaps(len(steps), seed, _affordable(flips, steps.size)):
        moved = swaps @ steps
        extreme += int((np.abs(statistic(end - moved) - statistic(start + moved)) >= bound).sum())
        tried += len(swaps)
    return extreme / tried if tried == 2 ** len(steps) else (extreme + 1) / (tried + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for looking at several metrics at once (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda position: p_values[position])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, position in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[position]))
        corrected[position] = highest
    return corrected


def _percentiles(values: Values, confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _members(groups: Sequence[Hashable]) -> list[Indices]:
    """The case numbers of each group, groups in order of first appearance."""
    members: dict[Hashable, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    return [np.asarray(block, dtype=np.int64) for block in members.values()]


def _by_group(rows: Values, groups: Sequence[Hashable] | None) -> Values:
    """The rows added up within each group: what is drawn or swapped as a whole."""
    if len(rows) == 0:
        raise ValueError("there is nothing to draw from")
    if groups is None:
        return rows
    return np.stack([rows[block].sum(axis=0) for block in _members(groups)])


def _draws(units: int, seed: int, resamples: int) -> Iterator[Indices]:
    generator = np.random.default_rng(seed)
    block = max(1, min(resamples, _DRAWN_AT_ONCE // units))
    for start in range(0, resamples, block):
        yield generator.integers(0, units, size=(min(block, resamples - start), units))


def _resampled(units: Values, seed: int, resamples: int) -> Values:
    """``(resamples, k)``: the summed rows of each resample."""
    totals = []
    for draws in _draws(len(units), seed, resamples):
        offsets = np.arange(len(draws))[:, None] * len(units)
        counts = np.bincount((draws + offsets).ravel(), minlength=draws.size).reshape(draws.shape)
        totals.append(counts.astype(np.float64) @ units)
    return np.concatenate(totals)


def _affordable(flips: int, numbers: int) -> int:
    return int(max(min(flips, 1_000), min(flips, _SWAP_BUDGET / numbers)))


def _counts_all(units: int, flips: int) -> bool:
    return units < 60 and 2**units <= flips


def _swaps(units: int, seed: int, flips: int) -> Iterator[Values]:
    """Blocks of 0/1 rows: which units are swapped; all patterns where they are no more than ``flips``."""
    if _counts_all(units, flips):
        yield np.asarray(list(itertools.product((0.0, 1.0), repeat=units)))
        return
    generator = np.random.default_rng(seed)
    block = max(1, min(flips, _DRAWN_AT_ONCE // units))
    for start in range(0, flips, block):
        yield generator.integers(0, 2, size=(min(block, flips - start), units)).astype(np.float64)
