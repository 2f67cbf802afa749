"""From what people said of answers to rows that the next model learns from, and cases that it must pass."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.models import Dataset, Source
from datasets_app.operations import ProposedRow, propose_rows, withdraw_rows
from evaluation_app.models import RegressionCase
from evaluation_app.operations.regressions import LONGEST_NOTE, NewCase, add_cases, remove_case
from finetune_engine.errors import UserError
from serving_app.choices import Reason, Verdict
from serving_app.models import Feedback
from serving_app.queries.feedback import (
    ORIGIN_KIND,
    is_in_data,
    proposed_messages,
    said_by,
    source_of,
    training_dataset,
    with_models,
)

MOST_AT_ONCE = 500


@dataclass(frozen=True)
class Proposed:
    """What became of corrections. ``known`` of them were rows of the data already."""

    added: int = 0
    known: int = 0
    datasets: list[Dataset] = field(default_factory=list)


def propose_corrections(*, actor: Actor, feedback: Sequence[Feedback], dataset: Dataset | None = None) -> Proposed:
    """Put each correction, with the whole conversation before it, into the review queue of ``dataset``; without one, of the
    dataset that the answering model was trained on. All or none.

    Raises UserError: ``nothing_to_propose`` when one of them has no correction or no question, ``dataset_missing`` when it is not
    known where it belongs, ``already_proposed`` (409) when another dataset holds it, and what ``propose_rows`` raises (409
    while the dataset is being checked).
    """
    actor.require(Act.TRAIN)
    batches: dict[str, tuple[Dataset, list[Feedback]]] = {}
    added = known = 0
    with transaction.atomic():
        current = with_models(feedback)
        _refuse_unusable(actor, current)
        for one in current:
            home = _home(one, dataset)
            batches.setdefault(home.pk, (home, []))[1].append(one)
        for home, mine in batches.values():
            done = _propose(actor, home, mine)
            added, known = added + done[0], known + done[1]
    return Proposed(added, known, [home for home, _mine in batches.values()])


def withdraw_proposal(*, actor: Actor, feedback: Feedback) -> int:
    """Take the row of this correction out of the data again, with the others that were proposed in the same act; returns
    how many pieces of feedback that frees. Raises UserError (409) when it is not in the data, and what ``recheck_dataset``
    raises."""
    actor.require(Act.TRAIN)
    source = source_of(feedback)
    if feedback.dataset is None or source is None or source.removed_at is not None:
        raise UserError("not_proposed", _("This correction is not part of the data."), status=409)
    with transaction.atomic():
        withdraw_rows(actor=actor, dataset=feedback.dataset, source=source)
        freed = Feedback.objects.filter(
            project=actor.project, dataset=feedback.dataset, source_number=source.number
        ).update(dataset=None, source_number=None, proposed_at=None)
        _record(actor, feedback, "feedback.withdraw", freed)
    return freed


def keep_as_cases(*, actor: Actor, feedback: Sequence[Feedback]) -> int:
    """Make each a case that no later model may get wrong; returns how many are new. Raises UserError as
    ``propose_corrections`` does, and what ``add_cases`` raises."""
    actor.require(Act.REVIEW)
    with transaction.atomic():
        current = with_models(feedback)
        _refuse_unusable(actor, current)
        cases = {one.pk: _case(one) for one in current}
        added = add_cases(actor=actor, cases=list(cases.values()))
        known = _cases_by_text(actor, [case.expected for case in cases.values()])
        for pk, case in cases.items():
            found = known.get(_text(case.messages, case.expected))
            Feedback.objects.filter(pk=pk).update(regression_case=found)
    return len(added.cases)


def drop_case_of(*, actor: Actor, feedback: Feedback) -> None:
    """Undo of ``keep_as_cases`` for one, and for those that share its case: later models are no longer asked it."""
    actor.require(Act.REVIEW)
    with transaction.atomic():
        if feedback.regression_case is not None:
            remove_case(actor=actor, case=feedback.regression_case)
            Feedback.objects.filter(regression_case=feedback.regression_case).update(regression_case=None)


def _home(one: Feedback, chosen: Dataset | None) -> Dataset:
    """The data that this correction goes to. It may be part of one dataset only, or the first row could not be found again."""
    home = chosen or training_dataset(one)
    if home is None:
        sentence = _("It is not known which data this model learned from. Choose a dataset.")
        raise UserError("dataset_missing", sentence, field="dataset")
    if one.dataset is not None and one.dataset != home and is_in_data(one):
        sentence = _("“%(question)s” waits in “%(name)s” already. Withdraw it there first.")
        told = {"question": _question(one)[:80], "name": one.dataset.name}
        raise UserError("already_proposed", sentence % told, field="feedback", status=409)
    return home


def _refuse_unusable(actor: Actor, feedback: Sequence[Feedback]) -> None:
    if not feedback:
        raise UserError("nothing_chosen", _("Choose at least one answer."), field="feedback")
    if len(feedback) > MOST_AT_ONCE:
        sentence = _("At most %(n)s can be sent at once.") % {"n": MOST_AT_ONCE}
        raise UserError("too_many", sentence, field="feedback")
    for one in feedback:
        if one.project_id != actor.project.pk:
            raise UserError("not_found", _("There is no such feedback in this project."), status=404)
        if one.verdict != Verdict.BAD or not one.correction:
            sentence = _("Write first what the answer should have been: “%(question)s” has no correction.")
            raise UserError("nothing_to_propose", sentence % {"question": _question(one)[:80]}, field="feedback")
        if not one.messages:
            sentence = _("The prediction log keeps no texts here, so the question of this answer is not known.")
            raise UserError("nothing_to_propose", sentence, field="feedback")


def _propose(actor: Actor, dataset: Dataset, feedback: Sequence[Feedback]) -> tuple[int, int]:
    first = feedback[0]
    origin = {"kind": ORIGIN_KIND, "id": first.pk, "feedback": [one.pk for one in feedback]}
    rows = [_row(one) for one in feedback]
    name = _("Feedback of %(day)s") % {"day": timezone.localdate().isoformat()}
    proposal = propose_rows(actor=actor, dataset=dataset, rows=rows, origin=origin, name=name)
    number = proposal.source.number if proposal.source is not None else None
    now = timezone.now()
    for one in feedback:
        one.dataset, one.proposed_at = dataset, now
        one.source_number = number
        if number is None or proposal.known:
            found = source_of(one, among=_proposals(dataset))
            one.source_number = found.number if found is not None else number
    Feedback.objects.bulk_update(feedback, ["dataset", "proposed_at", "source_number"])
    if proposal.added:
        _record(actor, first, "feedback.propose", proposal.added)
    return proposal.added, proposal.known


def _row(one: Feedback) -> ProposedRow:
    who = said_by(one) or _("a program")
    told = _("Feedback of %(who)s on an answer of %(model)s of %(day)s.") % {
        "who": who,
        "model": _model_words(one),
        "day": timezone.localtime(one.at).date().isoformat(),
    }
    if one.reasons:
        told += " " + ", ".join(str(Reason(reason).label) for reason in one.reasons) + "."
    if one.comment:
        told += f" “{one.comment}”"
    metadata = {"proposed_by": who, "feedback": one.pk, "request": one.request_id, "answered_by": one.model_name}
    return ProposedRow(proposed_messages(one), told, metadata, worse=one.answer)


def _model_words(one: Feedback) -> str:
    """The version's own name; the API's long one where there is none."""
    model = one.deployment.trained_model if one.deployment is not None else None
    return f"“{model.name}”" if model is not None else one.model_name


def _proposals(dataset: Dataset) -> list[Source]:
    return [source for source in dataset.sources.order_by("-number") if source.origin]


def _case(one: Feedback) -> NewCase:
    note = one.comment or ", ".join(str(Reason(reason).label) for reason in one.reasons)
    messages = [{"role": _role(message), "content": message.get("content")} for message in one.messages]
    return NewCase(messages, one.correction, note[:LONGEST_NOTE], {"kind": ORIGIN_KIND, "id": one.pk})


def _role(message: Mapping[str, Any]) -> str:
    """The template reads a developer's words as the system's."""
    role = str(message.get("role"))
    return "system" if role == "developer" else role


def _cases_by_text(actor: Actor, expected: Sequence[str]) -> dict[str, RegressionCase]:
    rows = RegressionCase.objects.filter(
        project=actor.project, removed_at=None, expected__in=[text.strip() for text in expected]
    )
    return {_text(case.messages, case.expected): case for case in rows}


def _text(messages: Sequence[Mapping[str, Any]], expected: str) -> str:
    return json.dumps([[dict(message) for message in messages], expected.strip()], sort_keys=True, ensure_ascii=False)


def _question(one: Feedback) -> str:
    return str(one.messages[-1].get("content") or "") if one.messages else ""


def _record(actor: Actor, feedback: Feedback, act: str, rows: int) -> None:
    record(actor=actor, project=actor.project, act=act, subject=f"feedback {feedback.pk}", data={"rows": rows})
