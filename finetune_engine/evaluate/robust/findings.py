"""Sentences about robustness that a manager can read: only what is more than chance, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from finetune_engine.evaluate.metrics.chosen import METRICS
from finetune_engine.evaluate.statistics.intervals import holm

SIGNIFICANCE = 0.05
NEGLIGIBLE = 0.01
GRAVE = 0.2
"""From this loss on (a share of what was there), a finding is marked as bad."""
FEW_CASES = 30


@dataclass(frozen=True)
class Suspicion:
    """Something that may be a weakness. ``part`` is its place in the report and gets the corrected p-value; ``loss`` is the
    mean value lost (0..1), ``share`` of what was there; ``sentence`` says it, should it be real."""

    part: dict[str, Any]
    p_value: float
    loss: float
    share: float
    sentence: str


def real_ones(suspicions: Sequence[Suspicion]) -> list[Suspicion]:
    """Those that are more than chance when all are looked at together (Holm), the greatest loss first."""
    corrected = holm([suspicion.p_value for suspicion in suspicions])
    found = []
    for suspicion, p_holm in zip(suspicions, corrected, strict=True):
        suspicion.part["p_holm"] = p_holm
        if p_holm < SIGNIFICANCE and suspicion.loss > NEGLIGIBLE:
            found.append(suspicion)
    return sorted(found, key=lambda suspicion: -suspicion.loss)


def finding(tone: Literal["ok", "warn", "bad"], text: str) -> dict[str, str]:
    """A finding as the report keeps it."""
    return {"tone": tone, "text": text}


def as_finding(suspicion: Suspicion) -> dict[str, str]:
    """A real weakness as a finding."""
    return finding("bad" if suspicion.share >= GRAVE else "warn", suspicion.sentence)


def fall(when: str, headline: str, before: float, after: float, other: tuple[float, float] | None) -> str:
    """ "When people type in capitals, right answers fall from 92 % to 31 %." ``other``: the same of the model before."""
    what = "right answers fall" if METRICS[headline].is_proportion else "the agreement with the reference answers falls"
    sentence = f"{when}, {what} from {percent(before)} to {percent(after)}"
    if other is not None:
        sentence += f" (the model it is compared with: from {percent(other[0])} to {percent(other[1])})"
    return sentence + "."


def nothing_found(cases: int, kinds: int, answered: bool, obeyed: bool) -> dict[str, str]:
    """What to say when no weakness is more than chance."""
    if not answered:
        return finding(
            "warn", "The model gets nothing right to begin with, so it cannot be seen what typing mistakes would cost."
        )
    tried = f"None of the {kinds} changes" if kinds > 1 else "No change"
    asked = f"{cases} cases" if cases > 1 else "1 case"
    sentence = f"{tried} in spelling and form cost answers beyond chance ({asked}"
    sentence += "; so few show large losses at most)" if cases < FEW_CASES else ")"
    sentence += "." if obeyed else ", and no hidden command was obeyed."
    return finding("warn" if cases < FEW_CASES else "ok", sentence)


def percent(share: float) -> str:
    """A share in per cent; never 0 or 100 where that is not exact."""
    value = 100 * share
    return f"{value:.1f} %" if 0 < value < 1 or 99 < value < 100 else f"{value:.0f} %"
