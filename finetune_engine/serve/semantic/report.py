"""What a threshold would have done on pairs whose meaning is known: how many it tells again, and how many of those
wrongly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from finetune_engine.evaluate.statistics.intervals import Interval, wilson
from finetune_engine.serve.semantic.guards import refusal
from finetune_engine.serve.semantic.pairs import HELD_OUT, SEALED, shipped_pairs

THRESHOLDS = (0.75, 0.78, 0.80, 0.82, 0.84, 0.86, 0.88, 0.90, 0.92, 0.94, 0.96, 0.98)


@dataclass(frozen=True)
class JudgedPair:
    """``similarity`` of two questions, whether one answer fits both, and the guard that refuses them (None: none
    does)."""

    similarity: float
    is_same: bool
    refused_by: str | None = None


@dataclass(frozen=True)
class Share:
    """``count`` of ``of``, with Wilson's 95 % interval; ``value`` None of nothing."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """0..1."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> Interval:
        """0 to 1 when nothing is known."""
        return wilson(self.count, self.of)


@dataclass(frozen=True)
class ThresholdRow:
    """At ``threshold``: ``hits`` among the pairs of the same meaning, ``false_hits`` among the others."""

    threshold: float
    hits: Share
    false_hits: Share


def threshold_row(pairs: Iterable[JudgedPair], threshold: float) -> ThresholdRow:
    """Hits and false hits at one threshold, the guards on."""
    hits = same = false_hits = different = 0
    for pair in pairs:
        is_hit = pair.refused_by is None and pair.similarity >= threshold
        if pair.is_same:
            same, hits = same + 1, hits + is_hit
        else:
            different, false_hits = different + 1, false_hits + is_hit
    return ThresholdRow(threshold, Share(hits, same), Share(false_hits, different))


def threshold_report(pairs: Sequence[JudgedPair], thresholds: Iterable[float] = THRESHOLDS) -> list[ThresholdRow]:
    """A row for each threshold."""
    return [threshold_row(pairs, threshold) for threshold in thresholds]


@lru_cache(maxsize=4)
def judged_shipped_pairs(half: str | None = None) -> tuple[JudgedPair, ...]:
    """The shipped pairs with their recorded similarity and what the guards say of them."""
    return tuple(
        JudgedPair(pair.similarity, pair.is_same, refusal(pair.second, pair.first)) for pair in shipped_pairs(half)
    )


def reported_pairs() -> tuple[JudgedPair, ...]:
    """The shipped pairs by which neither guards nor threshold were chosen: what a user is told comes from these."""
    return judged_shipped_pairs(HELD_OUT) + judged_shipped_pairs(SEALED)
