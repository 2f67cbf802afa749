"""Corrections of a closed review become candidate rows of the dataset, and can be taken out of it again."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.models import Dataset
from datasets_app.operations import Proposal, ProposedRow, propose_rows, withdraw_rows
from datasets_app.queries import sources_from
from evaluation_app.choices import ReviewState
from evaluation_app.models import Review, Vote
from evaluation_app.queries.reviews import Correction, corrections_of
from finetune_engine.errors import UserError

ORIGIN_KIND = "review"


def send_corrections(*, actor: Actor, review: Review) -> Proposal:
    """Propose every correction of a closed review as a row of the dataset that the evaluation was made on. Each waits
    in its review queue and says who wrote it, in which review, about which row. What is there already is left out.

    Raises UserError: ``review_open`` (409), ``nothing_proposed`` (409), ``dataset_gone`` (404), and what
    ``propose_rows`` raises.
    """
    actor.require(Act.TRAIN)
    if review.state != ReviewState.CLOSED:
        sentence = _("Close the review first: corrections are shown to others only then.")
        raise UserError("review_open", sentence, status=409)
    corrections = corrections_of(review)
    rows = [_row(review, correction) for correction in corrections]
    evaluation = review.evaluation
    origin = {"kind": ORIGIN_KIND, "id": review.pk, "evaluation": evaluation.pk, "name": review.name}
    with transaction.atomic():
        title = _("Corrections from %(name)s") % {"name": review.name}
        proposal = propose_rows(actor=actor, dataset=_dataset(review), rows=rows, origin=origin, name=title)
        if proposal.added:
            votes = Vote.objects.filter(pk__in=[correction.vote.pk for correction in corrections])
            votes.update(sent_to_data_at=timezone.now())
            _record(actor, review, "review.send_corrections", proposal.added)
    return proposal


def withdraw_corrections(*, actor: Actor, review: Review) -> None:
    """Take the corrections of this review out of the dataset again. Raises UserError (409) when none are in it, and what
    ``recheck_dataset`` raises."""
    actor.require(Act.TRAIN)
    dataset = _dataset(review)
    source = sources_from(dataset, ORIGIN_KIND, review.pk).filter(removed_at=None).order_by("-number").first()
    if source is None:
        raise UserError("nothing_sent", _("No correction of this review is part of the dataset."), status=409)
    with transaction.atomic():
        withdraw_rows(actor=actor, dataset=dataset, source=source)
        Vote.objects.filter(item__review=review).update(sent_to_data_at=None)
        _record(actor, review, "review.withdraw_corrections", source.rows)


def _dataset(review: Review) -> Dataset:
    dataset = review.evaluation.snapshot.dataset
    if dataset.deleted_at is not None:
        raise UserError("dataset_gone", _("The dataset of this evaluation was deleted."), status=404)
    return dataset


def _row(review: Review, correction: Correction) -> ProposedRow:
    item, who = correction.item, correction.rater
    evaluation = review.evaluation
    told = _(
        "%(who)s wrote this answer in the review “%(review)s” (evaluation %(evaluation)s of %(model)s, row %(row)s of "
        "snapshot %(number)s)."
    ) % {
        "who": who,
        "review": review.name,
        "evaluation": evaluation.pk,
        "model": evaluation.trained_model.name,
        "row": item.row,
        "number": evaluation.snapshot.number,
    }
    reason = correction.vote.comment
    shown = next((text for _key, text in correction.shown if text.strip()), "")
    return ProposedRow(
        messages=[*item.messages, {"role": "assistant", "content": correction.vote.correction}],
        provenance=f"{told} “{reason}”" if reason else told,
        metadata={
            "proposed_by": who,
            "review": review.pk,
            "evaluation": evaluation.pk,
            "snapshot": evaluation.snapshot_id,
            "snapshot_row": item.row,
        },
        worse=shown,
    )


def _record(actor: Actor, review: Review, act: str, rows: int) -> None:
    record(actor=actor, project=actor.project, act=act, subject=f"review {review.pk}", data={"rows": rows})
