"""Which evaluation an evaluation repeats, which ones repeat it, and whether there is newer data to repeat it on."""

from __future__ import annotations

from dataclasses import dataclass, field

from datasets_app.models import Snapshot
from datasets_app.queries import latest_snapshot
from evaluation_app.models import Evaluation
from evaluation_app.queries.lists import EvaluationCard, evaluation_card, evaluations_of


@dataclass(frozen=True)
class Change:
    """An evaluation and one that repeats it. ``is_same_figure``: the same metric decides both, so it can be shown as a
    change (whether it is more than chance, the comparison tells)."""

    before: EvaluationCard
    after: EvaluationCard
    is_same_figure: bool


@dataclass(frozen=True)
class Lineage:
    """``newer`` is a snapshot of the same data that was frozen later, None when this is the newest. ``origin`` is what
    this one repeats; ``repeats`` are those that repeat it, oldest first."""

    newer: Snapshot | None
    origin: Change | None = None
    repeats: list[Change] = field(default_factory=list)


def lineage_of(evaluation: Evaluation) -> Lineage:
    """Where this evaluation stands among its repetitions. Two or three queries."""
    newest = latest_snapshot(evaluation.snapshot.dataset)
    newer = newest if newest is not None and newest.number > evaluation.snapshot.number else None
    rows = evaluations_of(evaluation.project)
    here = evaluation_card(evaluation)
    origin = rows.filter(pk=evaluation.repeated_from_id).first() if evaluation.repeated_from_id else None
    repeats = list(rows.filter(repeated_from=evaluation).order_by("id"))
    return Lineage(
        newer=newer,
        origin=_change(evaluation_card(origin), here) if origin is not None else None,
        repeats=[_change(here, evaluation_card(repeat)) for repeat in repeats],
    )


def _change(before: EvaluationCard, after: EvaluationCard) -> Change:
    return Change(before, after, bool(before.headline) and before.headline == after.headline)
