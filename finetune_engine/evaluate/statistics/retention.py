"""How much of an ability is left after training. NumPy only.

``retention = (tuned - chance) / (base - chance)``: 1 means nothing was lost, 0 means that only guessing is left. It can
be measured only where the base model is clearly better than guessing; the interval is a paired bootstrap over questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.statistics.binomial import pmf
from finetune_engine.evaluate.statistics.percent import percent

CLEARLY = 0.01
"""One-sided level at which the base model counts as better than guessing."""
WORRYING = 0.9
"""Retention under which a warning is due, when the interval leaves out 1."""
WORRYING_RISE = 0.10
"""Relative rise of the cross-entropy on general text above which a warning is due."""
RESAMPLES = 2_000


@dataclass(frozen=True)
class Retention:
    """``base`` and ``tuned`` are shares right of ``n`` questions. ``value`` None has a ``reason``."""

    chance: float
    base: float
    tuned: float
    n: int
    value: float | None
    ci_low: float | None
    ci_high: float | None
    reason: str | None

    @property
    def is_worrying(self) -> bool:
        """Under 0.9, and the paired interval agrees that something was lost (it lies below 1)."""
        return self.value is not None and self.value < WORRYING and self.ci_high is not None and self.ci_high < 1.0


def retention(base: Sequence[bool], tuned: Sequence[bool], *, chance: float, seed: int) -> Retention:
    """What is left of the ability that ``base`` shows, from right or wrong question by question.

    Raises ValueError when the two lists differ in length or are empty.
    """
    if len(base) != len(tuned) or not base:
        raise ValueError("both models must have been asked the same questions")
    before, after = np.asarray(base, dtype=np.float64), np.asarray(tuned, dtype=np.float64)
    shares = float(before.mean()), float(after.mean())
    if chance_of_guessing(int(before.sum()), len(base), chance) > CLEARLY:
        reason = (
            f"not measurable: the base model itself is not clearly better than guessing "
            f"({percent(shares[0])} right, {percent(chance)} by guessing)"
        )
        return Retention(chance, *shares, len(base), None, None, None, reason)
    draws = np.random.default_rng(seed).integers(0, len(base), size=(RESAMPLES, len(base)))
    above = before[draws].mean(axis=1) - chance
    # Draws in which the base is no better than guessing say nothing; at this level they are one in a hundred at most.
    left = (after[draws].mean(axis=1) - chance)[above > 0] / above[above > 0]
    low, high = np.quantile(left, [0.025, 0.975])
    value = (shares[1] - chance) / (shares[0] - chance)
    return Retention(chance, *shares, len(base), value, float(low), float(high), None)


def chance_of_guessing(right: int, n: int, chance: float) -> float:
    """The probability that guessing gets ``right`` or more of ``n`` questions (one-sided exact binomial p-value)."""
    return min(1.0, math.fsum(pmf(k, n, chance) for k in range(right, n + 1)))


@dataclass(frozen=True)
class TextChange:
    """Cross-entropy of general text in nats per token, over ``n`` passages of ``tokens`` tokens.

    ``change`` is relative to the base, with a paired interval over passages; None with a ``reason`` when the base predicts
    the text no better than guessing among all its tokens would.
    """

    base: float
    tuned: float
    change: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    tokens: int
    reason: str | None = None

    @property
    def is_worrying(self) -> bool:
        """Whether it rose by more than a tenth, or is no number any more."""
        return self.change is not None and not self.change <= WORRYING_RISE


def text_change(
    base: Sequence[tuple[float, int]],
    tuned: Sequence[tuple[float, int]],
    *,
    seed: int,
    vocabulary: int | None = None,
) -> TextChange | None:
    """How much more a model is surprised at ordinary text; pairs of ``(summed nats, tokens)`` by passage.

    ``vocabulary`` is the number of tokens to choose from (None: unknown). None when nothing was read or the base is not
    surprised at all. Raises ValueError when the two did not read the same passages.
    """
    first, second = np.asarray(base, dtype=np.float64), np.asarray(tuned, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError("both models must have read the same passages")
    if not len(first) or first[:, 1].sum() == 0 or first[:, 0].sum() <= 0 or second[:, 1].sum() == 0:
        return None
    draws = np.random.default_rng(seed).integers(0, len(first), size=(RESAMPLES, len(first)))
    before, after = _per_token(first[draws].sum(axis=1)), _per_token(second[draws].sum(axis=1))
    means = float(_per_token(first.sum(axis=0))), float(_per_token(second.sum(axis=0)))
    counted = len(first), int(first[:, 1].sum())
    guessing = math.log(vocabulary) if vocabulary else math.inf
    if float(np.quantile(before, 0.99)) >= guessing:
        reason = (
            "not measurable: the base model itself predicts ordinary text no better than guessing "
            f"({means[0]:.2f} nats per token, {guessing:.2f} by guessing among {vocabulary:,} tokens)"
        )
        return TextChange(*means, None, None, None, *counted, reason)
    with np.errstate(invalid="ignore"):  # a broken model's surprise may be beyond all numbers
        low, high = np.quantile(after / before - 1, [0.025, 0.975])
    return TextChange(*means, means[1] / means[0] - 1, float(low), float(high), *counted)


def _per_token(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(sums[..., 0] / sums[..., 1], dtype=np.float64)
