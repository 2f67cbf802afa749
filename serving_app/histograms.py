"""Counts over fixed edges: small, and they add up."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

LATENCY_EDGES = (
    *(0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7),
    *(1.0, 1.5, 2.2, 3.3, 5.0, 7.5, 11.0, 16.0, 25.0, 40.0, 60.0, 120.0),
)
"""Seconds."""
CONFIDENCE_EDGES = tuple(number / 20 for number in range(1, 20))
LENGTH_EDGES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
"""Characters of a question."""


def counted(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """How many values lie below the first edge, between each two, and above the last: one more than there are edges."""
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[bisect_right(edges, value)] += 1
    return counts


def added(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """Two histograms over the same edges as one; an empty list counts as none."""
    if not first or not second:
        return list(first or second)
    return [one + other for one, other in zip(first, second, strict=True)]


def quantile(counts: Sequence[int], edges: Sequence[float], share: float) -> float | None:
    """The value under which ``share`` (0..1) of the counts lie, along a straight line inside its bin; None without counts.
    In the last, open bin it is its edge."""
    total = sum(counts)
    if not total:
        return None
    wanted, below = share * total, 0
    for number, count in enumerate(counts):
        if count and below + count >= wanted:
            if number == len(edges):
                return float(edges[-1])
            low = float(edges[number - 1]) if number else 0.0
            return low + (float(edges[number]) - low) * max(0.0, wanted - below) / count
        below += count
    return float(edges[-1])
