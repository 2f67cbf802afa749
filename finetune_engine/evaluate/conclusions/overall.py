"""One figure over all suites: a weighted mean whose weights are seen and can be changed.

It is a summary and never a judge: the verdict does not depend on it, and rules that failed are named beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

DEFAULT_WEIGHTS: dict[str, float] = {
    "quality": 0.5,
    "robustness": 0.2,
    "fairness": 0.1,
    "performance": 0.1,
    "cost": 0.1,
    "capabilities": 0.0,
}
"""Share of each suite when nobody says otherwise. What a model forgot counts nothing until somebody gives it weight."""


class Scored(Protocol):
    """What is needed of a suite's result: its score (0..1, higher is better; None with a reason)."""

    @property
    def score(self) -> float | None:
        """The subject's score."""

    @property
    def reason(self) -> str | None:
        """Why there is none."""


def overall_score(
    results: Mapping[str, Scored | None],
    weights: Mapping[str, float] | None = None,
    failed_rules: Sequence[str] = (),
) -> dict[str, Any]:
    """The weighted mean of the suites' scores: ``value = sum(w_s x score_s) / sum(w_s)`` over the suites that have one.

    ``results`` holds what was run, by suite. ``weights`` None or empty takes DEFAULT_WEIGHTS; otherwise it is the
    whole list, and a suite that it does not name counts nothing. A suite without a score gives its share to the others
    in proportion, and is named in ``left_out``. Returns ``{value: 0..1|None, reason: str|None, weights: {suite: share
    wished, summing to 1}, parts: [{suite, score|None, weight: share in effect, reason|None}], left_out: [suite],
    failed_rules: [name], sentence}``. Raises ValueError for a negative or endless weight.
    """
    wished = _shares(weights or DEFAULT_WEIGHTS)
    named = list(dict.fromkeys([*wished, *results]))
    scores = {suite: _score(results.get(suite)) for suite in named}
    counted = {suite: wished.get(suite, 0.0) for suite in named if scores[suite] is not None}
    total = math.fsum(counted.values())
    parts = [
        {
            "suite": suite,
            "score": scores[suite],
            "weight": counted[suite] / total if suite in counted and total else 0.0,
            "reason": _reason(suite, results, scores[suite]),
        }
        for suite in named
        if suite in results or wished.get(suite, 0.0) > 0
    ]
    value = (
        math.fsum(share / total * float(scores[suite] or 0.0) for suite, share in counted.items()) if total else None
    )
    left_out = [suite for suite in named if wished.get(suite, 0.0) > 0 and suite not in counted]
    return {
        "value": value,
        "reason": None if value is not None else "No suite that counts was run and gave a score.",
        "weights": wished,
        "parts": parts,
        "left_out": left_out,
        "failed_rules": list(failed_rules),
        "sentence": _sentence(value, left_out, failed_rules),
    }


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    for suite, weight in weights.items():
        if not math.isfinite(weight) or weight < 0:
            raise ValueError(f"the weight of {suite} must be a number of at least 0, not {weight}")
    total = math.fsum(weights.values())
    return {suite: weight / total if total else 0.0 for suite, weight in weights.items()}


def _score(result: Scored | None) -> float | None:
    if result is None or result.score is None or not math.isfinite(result.score):
        return None
    return min(1.0, max(0.0, float(result.score)))


def _reason(suite: str, results: Mapping[str, Scored | None], score: float | None) -> str | None:
    if score is not None:
        return None
    result = results.get(suite)
    return "It was not run." if result is None else result.reason or "It gave no score."


def _sentence(value: float | None, left_out: Sequence[str], failed_rules: Sequence[str]) -> str:
    words = "There is no overall score" if value is None else f"{100 * value:.0f} of 100"
    if left_out:
        words += f", without {', '.join(left_out)}"
    if not failed_rules:
        return f"{words}."
    rules = "1 acceptance rule" if len(failed_rules) == 1 else f"{len(failed_rules)} acceptance rules"
    return f"{words}. But {rules} failed, which no score makes up for: {', '.join(failed_rules)}."
