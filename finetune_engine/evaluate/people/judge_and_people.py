"""Does a judge decide as people do? NumPy only, so that a page can compute it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from finetune_engine.evaluate.statistics.agreement import agreement
from finetune_engine.evaluate.statistics.intervals import wilson
from finetune_engine.evaluate.statistics.percent import percent

FEWEST_PAIRS = 30
"""Cases in which both named a winner under which the figure is not to be relied on."""


def agreement_with_humans(
    judge_votes: Sequence[Mapping[str, Any]], human_votes: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """How far a judge decides as people do, over the rows that both judged.

    Both are lists of ``{row, choice}`` from the subject's side: ``win``, ``loss``, ``tie`` or ``both_bad`` (counts as a tie);
    people's are one for each row (the commonest vote, or the last word). Returns ``{n, percent, decisive_n,
    decisive_agreement, ci_low, ci_high, alpha, ac1, table, sentence}``: ``percent`` over all rows with ties as a choice
    of its own, ``decisive_agreement`` over the rows where both named a winner, with Wilson's interval; figures that cannot
    be had are None. ``table[human][judge]`` counts.
    """
    people = {vote["row"]: _plain_choice(vote["choice"]) for vote in human_votes}
    machine = {vote["row"]: vote["choice"] for vote in judge_votes if vote["choice"] != "unreadable"}
    both = [(people[row], _plain_choice(machine[row])) for row in sorted(people.keys() & machine.keys())]
    found = agreement(both, categories=("win", "loss", "tie"))
    decisive = [pair for pair in both if "tie" not in pair]
    same = sum(human == judge for human, judge in decisive)
    interval = wilson(same, len(decisive))
    names = ("win", "loss", "tie")
    counted = Counter(both)
    share = same / len(decisive) if decisive else None
    return {
        "n": len(both),
        "percent": found.percent.value,
        "decisive_n": len(decisive),
        "decisive_agreement": share,
        "ci_low": interval.low if decisive else None,
        "ci_high": interval.high if decisive else None,
        "alpha": found.alpha.value,
        "ac1": found.ac1.value,
        "reason": found.alpha.reason,
        "table": {human: {judge: counted[human, judge] for judge in names} for human in names},
        "sentence": _human_sentence(share, len(decisive), interval.low),
    }


def _plain_choice(choice: str) -> str:
    return "tie" if choice == "both_bad" else choice


def _human_sentence(share: float | None, n: int, low: float) -> str:
    if share is None:
        return "The judge and the people have not both named a winner in any case yet."
    said = f"Where both named a winner ({n} cases), the judge agreed with the people in {percent(share)}."
    if n < FEWEST_PAIRS:
        return f"{said} That is too few cases to rely on."
    if low > 0.5:
        return f"{said} It is better than a coin, and no better than that figure."
    return f"{said} That is not clearly better than a coin."
