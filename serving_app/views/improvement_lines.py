"""A complaint as the page Improve shows it: the way it has gone, and what can be done with it now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from datasets_app.choices import Status
from serving_app.queries.improvement import Line, Stage


@dataclass(frozen=True)
class Mark:
    """One station of a complaint's way. ``tone`` is a badge's; ``url`` may be empty."""

    words: str
    tone: str
    url: str = ""


@dataclass(frozen=True)
class ShownLine:
    """A complaint with its way and the acts that this person may do."""

    line: Line
    marks: list[Mark]
    may_propose: bool
    may_keep: bool
    may_withdraw: bool
    may_drop_case: bool
    may_correct: bool


def shown_lines(actor: Actor, lines: Sequence[Line]) -> list[ShownLine]:
    """The complaints as shown to this person."""
    return [_shown(actor, line) for line in lines]


def _shown(actor: Actor, line: Line) -> ShownLine:
    feedback = line.feedback
    has_text = bool(feedback.correction and feedback.messages)
    return ShownLine(
        line=line,
        marks=_marks(actor.project.slug, line),
        may_propose=has_text and not line.is_in_data and actor.may(Act.TRAIN),
        may_keep=has_text and not line.is_case and actor.may(Act.REVIEW),
        may_withdraw=line.is_in_data and line.frozen is None and actor.may(Act.TRAIN),
        may_drop_case=line.is_case and actor.may(Act.REVIEW),
        may_correct=not feedback.correction and feedback.prediction_id is not None and actor.may(Act.PREDICT),
    )


def _marks(slug: str, line: Line) -> list[Mark]:
    marks = [_data_mark(slug, line)]
    if line.frozen is not None:
        words = _("in snapshot %(n)s") % {"n": line.frozen.number}
        if line.split and line.split != "train":
            words = _("in snapshot %(n)s, kept back to judge") % {"n": line.frozen.number}
        url = reverse("datasets:snapshot", args=[slug, line.frozen.dataset_id, line.frozen.number])
        marks.append(Mark(words, "ok" if line.split == "train" else "warn", url))
    if line.model is not None and line.is_learned:
        url = reverse("jobs:model", args=[slug, line.model.pk])
        marks.append(Mark(_("learned by %(name)s") % {"name": line.model.name}, "ok", url))
    if line.is_case:
        marks.append(Mark(_("must not be forgotten"), "info", reverse("evaluation:cases", args=[slug])))
    if line.outcome is not None:
        url = reverse("evaluation:detail", args=[slug, line.outcome.evaluation_id])
        name = {"name": line.outcome.model_name}
        words = _("right in %(name)s") % name if line.outcome.passed else _("still wrong in %(name)s") % name
        marks.append(Mark(words, "ok" if line.outcome.passed else "bad", url))
    if line.is_in_use:
        marks.append(Mark(_("in use"), "ok", reverse("serving:detail", args=[slug])))
    return marks


def _data_mark(slug: str, line: Line) -> Mark:
    feedback = line.feedback
    if not feedback.correction:
        return Mark(_("no correction yet"), "idle")
    if feedback.proposed_at is None:
        return Mark(_("not in the data yet"), "idle")
    if line.dataset is None:
        return Mark(_("no longer in the data"), "idle")
    if line.row is None:
        return Mark(_("being added to the data"), "idle")
    row = reverse("datasets:example", args=[slug, line.dataset.pk, line.row])
    if line.row_status == Status.NEEDS_REVIEW:
        return Mark(_("waits for review"), "info", reverse("datasets:review", args=[slug, line.dataset.pk]))
    if line.stage == Stage.LEFT_OUT or line.row_status == Status.REJECTED:
        return Mark(_("left out in review"), "warn", row)
    return Mark(_("accepted in row %(n)s") % {"n": line.row}, "ok", row)
