"""Below which calibrated confidence must a person look, so that the rest is right as often as was promised?

Learn, then test (Angelopoulos et al. 2021): every threshold is the claim "answers above me are right as often as promised".
The claims are tested on the half that the curve learnt from, from the strictest down, by the fallback procedure (Wiens 2003),
which keeps the chance that any false claim passes below RISK however many are looked at. The lowest that passes is taken, and
the other half says what it delivers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from finetune_engine.errors import UserError
from finetune_engine.evaluate.statistics.binomial import pmf

RISK = 0.05
STARTS = 4
"""Places along the list where testing begins afresh, each with its share of RISK: one unlucky mistake among the few surest
answers does not end the search."""


@dataclass(frozen=True)
class Share:
    """The held-out answers at or above a threshold: how many of all (``coverage``) and how often right, with 95 % intervals.
    ``accuracy`` is None where there are none."""

    n: int
    right: int
    coverage: float
    coverage_low: float
    coverage_high: float
    accuracy: float | None
    accuracy_low: float
    accuracy_high: float

    @property
    def people(self) -> float:
        """The share of answers that a person has to look at."""
        return 1 - self.coverage

    @property
    def people_low(self) -> float:
        """The lower end of its interval."""
        return 1 - self.coverage_high

    @property
    def people_high(self) -> float:
        """The upper end of its interval."""
        return 1 - self.coverage_low

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """``threshold`` is a calibrated confidence (0: nothing goes to people), None when no threshold keeps the promise; then
    ``reason`` says so. ``held_out`` is what it delivers on rows that it was not chosen on; ``is_kept`` is False when those
    speak against the promise."""

    promised: float
    threshold: float | None
    held_out: Share | None
    reason: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether the held-out rows are compatible with the promise."""
        return self.held_out is not None and self.held_out.accuracy_high >= self.promised


def threshold_for(promised: float, report: Mapping[str, Any]) -> Choice:
    """The lowest threshold above which, all but RISK surely, ``promised`` (0..1) of the answers are right.

    ``report`` is that of ``fit_calibration``. Raises UserError for a promise outside 0..1.
    """
    if not 0.0 < promised < 1.0:
        raise UserError("bad_promise", "The share of right answers lies between 0 and 100 %.", field="promised")
    tested = [one for one in report["candidates"] if _could_pass(one, promised)]
    starts = {len(tested) * start // STARTS for start in range(STARTS)}
    passed: Mapping[str, Any] | None = None
    level = 0.0
    for place, one in enumerate(tested):
        level += RISK / len(starts) if place in starts else 0.0
        if level and p_value(one, promised) <= level:
            passed = one
        else:
            level = 0.0
    if passed is None:
        reason = (
            f"No threshold makes sure that {promised:.1%} of the answers above it are right: either the model is not right "
            "often enough even where it is surest, or there are too few judged answers to show it."
        )
        return Choice(promised, None, None, reason)
    return Choice(promised, float(passed["threshold"]), Share(**passed["held_out"]))


def delivered_at(threshold: float, report: Mapping[str, Any]) -> Share:
    """What a threshold that somebody set delivers on held-out rows: that of the nearest looked-at one not below it. Above
    the strictest of these nobody looked: then no answer counts as sure, and their accuracy is None."""
    candidates = report["candidates"]
    fitting = [one for one in candidates if one["threshold"] >= threshold]
    if fitting:
        return Share(**fitting[-1]["held_out"])
    high = float(candidates[0]["held_out"]["coverage_high"])
    return Share(0, 0, 0.0, 0.0, high, None, 0.0, 1.0)


def p_value(candidate: Mapping[str, Any], promised: float) -> float:
    """How likely so many right answers are when the true share is just below ``promised``: the exact binomial tail, which is
    the one-sided Clopper-Pearson bound turned round. Rows of one group count for less, by ``design_effect``."""
    n, wrong = _effective(candidate)
    return min(1.0, math.fsum(pmf(k, n, 1 - promised) for k in range(wrong + 1)))


def _effective(candidate: Mapping[str, Any]) -> tuple[int, int]:
    alike = float(candidate.get("design_effect") or 1.0)
    n = int(candidate["n"] / alike)
    return n, min(n, math.ceil((candidate["n"] - candidate["right"]) / alike))


def _could_pass(candidate: Mapping[str, Any], promised: float) -> bool:
    """Whether there are rows enough that an unblemished record would pass; says nothing of the record itself."""
    return bool(promised ** candidate["n"] <= RISK / STARTS)
