"""Starting and ending a human review, and the last word where raters differ."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.row_messages import storable
from evaluation_app.choices import DEFAULT_RUBRIC, Bucket, Choice, ReviewKind, ReviewState
from evaluation_app.models import Evaluation, Review, ReviewItem, ReviewLock, Vote
from evaluation_app.operations.typed_text import typed_text
from evaluation_app.queries.contenders import subject_key
from evaluation_app.queries.review_cases import ReviewCase, model_names, review_cases
from evaluation_app.queries.review_results import measured_results, sides_for_decision, winner
from finetune_engine.errors import UserError
from finetune_engine.evaluate.people.blind import HARDEST_SIZE, SAMPLE_SIZE, Candidate, draw

MOST_ITEMS = 1_000
MOST_RATERS = 20
MOST_CRITERIA = 8
_FEWEST_BY_KIND = {ReviewKind.PAIRS: 2, ReviewKind.RUBRIC: 1, ReviewKind.CORRECTION: 1}


def start_review(
    *,
    actor: Actor,
    evaluation: Evaluation,
    kind: str = ReviewKind.PAIRS,
    keys: Sequence[str] = (),
    size: int = SAMPLE_SIZE,
    stratify_by: str | None = None,
    hardest: int = 0,
    raters_per_item: int = 1,
    rubric: Sequence[Mapping[str, Any]] | None = None,
    instructions: str = "",
    name: str = "",
    seed: int | None = None,
    idempotency_key: str | None = None,
) -> Review:
    """Draw the cases and open a review. Nobody has seen them at this moment, and nothing can be swapped later.

    ``keys`` are the models whose answers are shown: two for pairs, one otherwise; empty takes the evaluation's subject
    and what it is compared with. ``stratify_by`` is ``label`` or ``metadata:<column>``. ``rubric`` None means the usual
    questions. ``seed`` None draws one; it stays secret while the review is open. The same ``idempotency_key`` returns the
    first review.

    Raises UserError naming the field for whatever cannot be, and PermissionDenied without the right to train.
    """
    actor.require(Act.TRAIN)
    if evaluation.project_id != actor.project.pk:
        raise UserError("not_found", _("There is no such evaluation in this project."), status=404)
    once = (idempotency_key or "")[:200] or None
    if first := _started_with(actor, once):
        return first
    chosen = _checked_keys(evaluation, kind, keys)
    _check_numbers(size, hardest, raters_per_item)
    asked: dict[str, Any] = {
        "name": typed_text(" ".join(name.split()), 120) or _("Blind review"),
        "kind": kind,
        "keys": chosen,
        "rubric": _checked_rubric(rubric) if kind == ReviewKind.RUBRIC else [],
        "instructions": typed_text(instructions, 4_000),
        "raters_per_item": raters_per_item,
        "seed": secrets.randbits(62) if seed is None else seed,
        "idempotency_key": once,
    }
    wanted: dict[str, Any] = {"size": size, "stratify_by": stratify_by or "", "hardest": hardest}
    items, asked["drawing"] = _drawn(evaluation, chosen, asked["seed"], wanted)
    try:
        return _created(actor, evaluation, asked, items)
    except IntegrityError:  # the same form was sent twice at once
        if first := _started_with(actor, once):
            return first
        raise


def adjudicate(*, actor: Actor, item: ReviewItem, choice: str, note: str = "") -> ReviewItem:
    """The last word on a pair about which the raters differ, as ``choice`` on the sides that this person sees. It is
    said blind, before the review is closed. An empty choice takes it back.

    Raises UserError: ``review_closed`` (409), ``not_pairs`` (409), ``not_complete`` (409) while votes are missing,
    ``no_difference`` (409) when the raters agree, ``unknown_choice``, and PermissionDenied without the right to train.
    """
    actor.require(Act.TRAIN)
    if choice not in {*Choice.values, ""}:
        raise UserError("unknown_choice", _("Choose left, right, equally good or both bad."), field="choice")
    with transaction.atomic():
        review = hold_review(item.review_id)
        if review.kind != ReviewKind.PAIRS:
            raise UserError("not_pairs", _("Only choices between two answers are decided."), status=409)
        locked = ReviewItem.objects.get(pk=item.pk)
        if choice:
            _check_differs(review, locked)
        left, right = sides_for_decision(review, [locked], actor)[locked.pk]
        decision = {Choice.LEFT: left, Choice.RIGHT: right}.get(choice, choice)  # type: ignore[call-overload]
        locked.decision = decision
        locked.decision_note = typed_text(note, 300) if choice else ""
        locked.decided_by = actor.user if choice else None
        locked.decided_at = timezone.now() if choice else None
        locked.save(update_fields=["decision", "decision_note", "decided_by", "decided_at"])
        act = "review.adjudicate" if choice else "review.adjudicate_undo"
        _record(actor, review, act, {"item": locked.number})
    return locked


def close_review(*, actor: Actor, review: Review) -> Review:
    """End a review: its results are worked out once and kept, and the names of the models are opened. It cannot be
    opened again, since nobody would be blind any more.

    Raises UserError (409) when it is closed already or nobody has voted.
    """
    actor.require(Act.TRAIN)
    with transaction.atomic():
        held = hold_review(review.pk)
        results = measured_results(held)
        if not results.votes:
            sentence = _("Nobody has judged a case yet, so there is nothing to close. You can discard the review.")
            raise UserError("no_votes", sentence, status=409)
        now = timezone.now()
        Review.objects.filter(pk=held.pk, state=ReviewState.OPEN).update(
            state=ReviewState.CLOSED, closed_at=now, results=results.as_dict() | {"closed_at": now.isoformat()}
        )
        ReviewLock.objects.filter(item__review=held).delete()
        _record(actor, held, "review.close", {"votes": results.votes})
    review.refresh_from_db()
    return review


def discard_review(*, actor: Actor, review: Review) -> None:
    """Take away a review that nobody has voted in. Raises UserError (409) when somebody has, or it is closed."""
    actor.require(Act.TRAIN)
    with transaction.atomic():
        held = hold_review(review.pk)
        if Vote.objects.filter(item__review=held).exists():
            sentence = _("People have judged cases of this review, so it stays. Close it instead.")
            raise UserError("has_votes", sentence, status=409)
        _record(actor, held, "review.discard", {"evaluation": held.evaluation_id, "items": held.items.count()})
        held.delete()


def hold_review(review_id: str) -> Review:
    """The review, which nobody else changes before the current transaction ends. Raises UserError (409) when it is closed."""
    review = Review.objects.select_for_update(no_key=True).filter(pk=review_id).first()
    if review is None:
        raise UserError("review_gone", _("This review was taken away."), status=409)
    if review.state != ReviewState.OPEN:
        raise UserError("review_closed", _("This review is closed: nothing can be added to it."), status=409)
    return review


def _checked_keys(evaluation: Evaluation, kind: str, keys: Sequence[str]) -> list[str]:
    if kind not in ReviewKind.values:
        kinds = ", ".join(ReviewKind.values)
        raise UserError("unknown_kind", _("A review can be: %(kinds)s.") % {"kinds": kinds}, field="kind")
    names = model_names(evaluation)
    subject = subject_key(evaluation)
    wanted = list(dict.fromkeys(keys)) or [subject, *(key for key in names if key != subject)]
    count = _FEWEST_BY_KIND[ReviewKind(kind)]
    if not keys:
        wanted = wanted[:count]
    if unknown := [key for key in wanted if key not in names]:
        sentence = _("This evaluation has no model %(key)s.") % {"key": repr(unknown[0][:40])}
        raise UserError("unknown_model", sentence, field="keys")
    if len(wanted) != count:
        sentence = _("Choose two different models.") if count == 2 else _("Choose one model.")
        raise UserError("number_of_models", sentence, field="keys")
    return sorted(wanted, key=lambda key: key != subject)  # the subject first: wins are counted for it


def _check_numbers(size: int, hardest: int, raters_per_item: int) -> None:
    limits = (
        ("size", size, 1, MOST_ITEMS),
        ("hardest", hardest, 0, MOST_ITEMS),
        ("raters_per_item", raters_per_item, 1, MOST_RATERS),
    )
    for field, value, least, most in limits:
        if not least <= value <= most:
            sentence = _("This must be a number from %(least)s to %(most)s.") % {"least": least, "most": most}
            raise UserError("bad_number", sentence, field=field)


def _checked_rubric(rubric: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """``[{name, question, anchors: {mark: words}}]``; the usual questions for None."""
    if rubric is None:
        return [
            {
                "name": key,
                "question": str(question),
                "anchors": {str(mark): str(words) for mark, words in anchors.items()},
            }
            for key, (question, anchors) in DEFAULT_RUBRIC.items()
        ]
    if not 1 <= len(rubric) <= MOST_CRITERIA:
        sentence = _("Ask between 1 and %(most)s questions.") % {"most": MOST_CRITERIA}
        raise UserError("bad_rubric", sentence, field="rubric")
    out: list[dict[str, Any]] = []
    for number, given in enumerate(rubric, 1):
        question = typed_text(str(given.get("question") or ""), 200)
        anchors = given.get("anchors") or {}
        if not question or not isinstance(anchors, Mapping) or not set(map(str, anchors)) <= set("12345"):
            sentence = _("Question %(n)s needs its words, and anchors for marks from 1 to 5.") % {"n": number}
            raise UserError("bad_rubric", sentence, field="rubric")
        told = {str(mark): typed_text(str(words), 200) for mark, words in anchors.items()}
        out.append({"name": f"q{number}", "question": question, "anchors": told})
    return out


def _started_with(actor: Actor, idempotency_key: str | None) -> Review | None:
    """The project's review that was started with this key."""
    if idempotency_key is None:
        return None
    return Review.objects.filter(project=actor.project, idempotency_key=idempotency_key).first()


def _drawn(
    evaluation: Evaluation, keys: Sequence[str], seed: int, wanted: Mapping[str, Any]
) -> tuple[list[tuple[ReviewCase, str]], dict[str, Any]]:
    """The cases in the order drawn, and how that was done."""
    cases = review_cases(evaluation, keys, keys[0])
    if not cases:
        sentence = _("This evaluation has no answers of these models to look at. Wait until it is done.")
        raise UserError("no_answers", sentence, status=409)
    items, note = _draw(cases, seed=seed, **wanted)
    return items, {**wanted, "cases": len(cases)} | ({"note": note} if note else {})


def _draw(
    cases: Sequence[ReviewCase], *, seed: int, size: int, stratify_by: str, hardest: int
) -> tuple[list[tuple[ReviewCase, str]], str | None]:
    """Cases with their bucket, in the order drawn."""
    if stratify_by and not any(stratify_by in case.strata for case in cases):
        sentence = _("The cases cannot be divided by this: none of them has it.")
        raise UserError("unknown_stratum", sentence, field="stratify_by")
    by_row = {str(case.row): case for case in cases}
    candidates = [
        Candidate(id=row, stratum=case.strata.get(stratify_by, ""), hardness=case.hardness)
        for row, case in by_row.items()
    ]
    drawn = draw(candidates, seed=seed, size=size, stratify=bool(stratify_by), hardest=hardest)
    found = [(by_row[row], str(Bucket.SAMPLE)) for row in drawn.sample]
    return [*found, *((by_row[row], str(Bucket.HARDEST)) for row in drawn.hardest)], drawn.note


def _created(
    actor: Actor, evaluation: Evaluation, asked: Mapping[str, Any], items: Sequence[tuple[ReviewCase, str]]
) -> Review:
    """The review with its items, in one transaction."""
    stratify_by = asked["drawing"]["stratify_by"]
    with transaction.atomic():
        review = Review.objects.create(
            project=actor.project,
            evaluation=evaluation,
            created_by=actor.user,
            created_by_key=actor.api_key,
            **asked,
        )
        ReviewItem.objects.bulk_create(
            ReviewItem(
                review=review,
                number=number,
                bucket=bucket,
                row=case.row,
                stratum=storable(case.strata.get(stratify_by, ""))[:200],
                messages=storable(case.messages),
                reference=storable(case.reference),
                answers=storable(case.answers),
            )
            for number, (case, bucket) in enumerate(items, 1)
        )
        data = {"evaluation": evaluation.pk, "kind": str(review.kind), "items": len(items)}
        _record(actor, review, "review.start", data | {"raters_per_item": review.raters_per_item})
    return review


def _check_differs(review: Review, item: ReviewItem) -> None:
    votes = list(item.votes.all())
    if len(votes) < review.raters_per_item:
        raise UserError("not_complete", _("Not all raters have judged this case yet."), status=409)
    said = {winner(review.keys, vote.choice, vote.left_key) for vote in votes}
    if len(said) < 2:
        raise UserError("no_difference", _("The raters agree on this case."), status=409)


def _record(actor: Actor, review: Review, act: str, data: dict[str, Any]) -> None:
    record(actor=actor, project=actor.project, act=act, subject=f"review {review.pk}", data=data)


__all__ = ["HARDEST_SIZE", "SAMPLE_SIZE", "adjudicate", "close_review", "discard_review", "hold_review", "start_review"]
