"""Trying a rule before it is kept: on one pasted answer, and on the answers of the project's newest model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from evaluation_app.choices import ReviewState
from evaluation_app.models import Evaluation, Review
from evaluation_app.queries.sample_file import kept_frame
from finetune_engine.evaluate.rules import Rule, check
from finetune_engine.evaluate.worth.reading import subject_key
from work_kit.choices import State

MOST_TRIED = 2_000  # answers; a rule is tried while somebody waits
SHOWN = 3


@dataclass(frozen=True)
class Failing:
    """A stored answer that the rule refuses. ``row`` is of the snapshot."""

    row: int
    question: str
    answer: str
    why: str


@dataclass(frozen=True)
class Trial:
    """What a rule would say of the newest model. ``n`` answers were looked at; ``failing`` holds the first few."""

    evaluation_id: str
    model_name: str
    n: int
    failed: int
    failing: list[Failing]
    is_cut: bool

    @property
    def tone(self) -> str:
        """``ok`` when all pass."""
        return "warn" if self.failed else "ok"


def newest_answers(actor: Actor) -> Evaluation | None:
    """The newest finished evaluation whose answers are kept; None when there is none yet. Answers that this person is
    judging blind at the moment are passed over."""
    rows = Evaluation.objects.filter(project=actor.project, work__state=State.SUCCEEDED).exclude(samples_name="")
    if actor.user is not None and not actor.may(Act.TRAIN):
        rows = rows.exclude(snapshot__in=_judged_blind(actor))
    return rows.select_related("trained_model").order_by("-id").first()


def _judged_blind(actor: Actor) -> QuerySet[Review, Any]:
    """The snapshots of whose cases some answers are being judged blind."""
    found = Review.objects.filter(project=actor.project, state=ReviewState.OPEN)
    return found.values_list("evaluation__snapshot", flat=True)


def try_rule(actor: Actor, rule: Rule) -> Trial | None:
    """Hold the answers of the project's newest model against the rule (at most 2,000). None: no model was judged yet,
    or its answers are no longer kept."""
    evaluation = newest_answers(actor)
    if evaluation is None:
        return None
    n, failed = 0, 0
    failing: list[Failing] = []
    for row, question, answer in _answers(evaluation):
        if n == MOST_TRIED:
            return _trial(evaluation, n, failed, failing, is_cut=True)
        n += 1
        why = check(rule, question, answer)
        failed += why is not None
        if why is not None and len(failing) < SHOWN:
            failing.append(Failing(row, question, answer, why))
    return _trial(evaluation, n, failed, failing, is_cut=False) if n else None


def _trial(evaluation: Evaluation, n: int, failed: int, failing: list[Failing], *, is_cut: bool) -> Trial:
    return Trial(evaluation.pk, evaluation.trained_model.name, n, failed, failing, is_cut)


def _answers(evaluation: Evaluation) -> Iterator[tuple[int, str, str]]:
    frame = kept_frame(evaluation)
    if frame is None:
        return
    column = f"{subject_key(evaluation.report)}_answer"
    if column not in frame.collect_schema():
        return
    for row, question, answer in frame.select("row", "prompt", column).head(MOST_TRIED + 1).collect().iter_rows():
        yield int(row), question or "", answer or ""
