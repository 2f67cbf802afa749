"""Judging: getting the next case, voting, skipping, drafts, and taking back.

Every change holds the review's row (on PostgreSQL by FOR UPDATE, on SQLite every transaction is alone anyway), so that
two raters never take the last place of a case, and nothing arrives after the review was closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.operations import record
from evaluation_app.choices import Choice, ReviewKind
from evaluation_app.models import Review, ReviewItem, ReviewLock, Vote
from evaluation_app.operations.reviews import hold_review
from evaluation_app.operations.typed_text import typed_text
from evaluation_app.permissions import Rater
from evaluation_app.queries.reviews import Queue, queue_of, rater_turns
from finetune_engine.errors import UserError

LOCK_SECONDS = 300.0  # without a sign of life a case is given to somebody else after this
LONGEST_CORRECTION = 20_000
LONGEST_COMMENT = 2_000
LONGEST_LEAD_SECONDS = 86_400.0
_DRAFTED = ("choice", "correction", "comment")


@dataclass(frozen=True)
class Offer:
    """What a rater gets who asks for a case: an item held for them (None: there is none now) and where they stand."""

    item: ReviewItem | None
    lock: ReviewLock | None
    queue: Queue


def next_item(*, rater: Rater, review: Review) -> Offer:
    """Give the rater the case that lies before them already, else the next free one of their own order, and hold it.
    Skipped ones come last. Raises UserError (409) when the review is closed."""
    with transaction.atomic():
        held = hold_review(review.pk)
        queue = queue_of(held, rater.name)
        if queue.next_item is None:
            return Offer(None, None, queue)
        lock = _hold(rater, held, queue.next_item, own=queue.own)
        item = ReviewItem.objects.get(pk=queue.next_item)
    return Offer(item, lock, queue)


def vote(
    *,
    rater: Rater,
    item: ReviewItem,
    choice: str = "",
    marks: Mapping[str, Any] | None = None,
    correction: str = "",
    comment: str = "",
    lead_seconds: float | None = None,
) -> Vote:
    """Keep what this rater says of a case that was given to them. Once for each case.

    Pairs need ``choice``, marks ``marks`` for every question, a correction a text (the answer itself, unchanged, means
    that it is right as it is). A correction may go with any of them.

    Raises UserError: ``not_offered`` (409) for a case that does not lie before them, ``judged_meanwhile`` (409) when
    they were away and others have taken their place, ``already_voted`` (409), ``review_closed`` (409), and naming the
    field for what is missing.
    """
    with transaction.atomic():
        review = hold_review(item.review_id)
        clean = _checked(review, item, choice, marks or {})
        lock = _own_lock(rater, item)
        _check_room(review, item, rater)
        now = timezone.now()
        made = Vote.objects.create(
            item=item,
            rater=rater.name,
            user=rater.user,
            link=rater.link,
            api_key=rater.api_key,
            choice=clean[0],
            left_key=_left_key(review, item, rater),
            marks=clean[1],
            correction=_changed(review, item, correction),
            comment=typed_text(comment, LONGEST_COMMENT),
            lead_seconds=_lead(lead_seconds, (now - lock.taken_at).total_seconds()),
            at=now,
        )
        lock.delete()
        _record(rater, review, "review.vote", item)
    return made


def skip(*, rater: Rater, item: ReviewItem) -> None:
    """Leave a case for later: for this rater it comes after all others. What was typed stays."""
    with transaction.atomic():
        review = hold_review(item.review_id)
        lock = _own_lock(rater, item)
        now = timezone.now()
        ReviewLock.objects.filter(pk=lock.pk).update(is_skipped=True, taken_at=now, expires_at=now)
        _record(rater, review, "review.skip", item)


def undo_vote(*, rater: Rater, review: Review) -> ReviewItem:
    """Take this rater's last vote (or skip) back and give them the case again, with what they had said as a draft.

    Raises UserError (409): ``nothing_to_undo``, ``decided_since`` when the case was decided on because of the votes, and
    ``taken_meanwhile`` for a skipped case whose places others have now.
    """
    with transaction.atomic():
        held = hold_review(review.pk)
        last = Vote.objects.filter(item__review=held, rater=rater.name).select_related("item").order_by("-id").first()
        skipped = ReviewLock.objects.filter(item__review=held, rater=rater.name, is_skipped=True)
        skip_last = skipped.select_related("item").order_by("-taken_at").first()
        if skip_last is not None and (last is None or skip_last.taken_at > last.at):
            if not _has_room(held, skip_last.item, rater):
                sentence = _("Others have the case that you left for later now. It comes again if they leave it, too.")
                raise UserError("taken_meanwhile", sentence, status=409)
            _hold(rater, held, skip_last.item_id)
            _record(rater, held, "review.undo", skip_last.item)
            return skip_last.item
        if last is None:
            raise UserError("nothing_to_undo", _("There is nothing of yours to take back here."), status=409)
        if last.item.decision:
            sentence = _("This case was decided on since, because of the votes. Yours stays.")
            raise UserError("decided_since", sentence, status=409)
        draft = {"choice": last.choice, "marks": last.marks, "correction": last.correction, "comment": last.comment}
        last.delete()
        _hold(rater, held, last.item_id, draft={name: value for name, value in draft.items() if value})
        _record(rater, held, "review.undo", last.item)
    return last.item


def keep_draft(*, rater: Rater, item: ReviewItem, draft: Mapping[str, Any] | None) -> bool:
    """Keep what was typed, and hold the case on: the rater is still there. False when others have taken their place
    meanwhile; the draft is kept all the same. ``draft`` may hold ``choice``, ``marks``, ``correction``, ``comment``: all
    that is typed now, so that an empty one forgets the last; None only holds the case on."""
    with transaction.atomic():
        review = hold_review(item.review_id)
        lock = _own_lock(rater, item)
        if draft is not None:
            lock.draft = _checked_draft(draft)
        is_held = _has_room(review, item, rater)
        if is_held:
            lock.expires_at = timezone.now() + timedelta(seconds=LOCK_SECONDS)
        lock.save(update_fields=["draft", "expires_at"])
    return is_held


def _hold(
    rater: Rater,
    review: Review,
    item_id: str,
    *,
    draft: dict[str, Any] | None = None,
    own: Mapping[str, ReviewLock] | None = None,
) -> ReviewLock:
    """This case for this rater, and no other one any more. Inside the transaction that holds the review. ``own`` are the
    rater's locks, where they have been read; ``draft`` None keeps the one there is."""
    now = timezone.now()
    if own is None:
        mine = ReviewLock.objects.filter(item__review=review, rater=rater.name)
        own = {lock.item_id: lock for lock in mine}
    for other in own.values():
        if other.item_id != item_id and other.expires_at > now:
            other.expires_at = now
            other.save(update_fields=["expires_at"])
    until = now + timedelta(seconds=LOCK_SECONDS)
    lock = own.get(item_id)
    if lock is None:
        return ReviewLock.objects.create(
            item_id=item_id, rater=rater.name, taken_at=now, expires_at=until, draft=draft or {}
        )
    if lock.is_skipped or lock.expires_at <= now:
        lock.taken_at = now
    lock.is_skipped, lock.expires_at, lock.draft = False, until, draft if draft is not None else lock.draft
    lock.save(update_fields=["taken_at", "expires_at", "is_skipped", "draft"])
    return lock


def _own_lock(rater: Rater, item: ReviewItem) -> ReviewLock:
    lock = ReviewLock.objects.filter(item=item, rater=rater.name).first()
    if lock is not None and not lock.is_skipped:
        return lock
    if Vote.objects.filter(item=item, rater=rater.name).exists():
        raise UserError("already_voted", _("You have judged this case already. Undo it to judge it anew."), status=409)
    raise UserError("not_offered", _("This case does not lie before you. Ask for the next one."), status=409)


def _has_room(review: Review, item: ReviewItem, rater: Rater) -> bool:
    """Whether a place among the case's raters is this one's: votes and live locks of others leave one."""
    voted = item.votes.count()
    held = item.locks.filter(expires_at__gt=timezone.now()).exclude(rater=rater.name).count()
    return voted + held < review.raters_per_item


def _check_room(review: Review, item: ReviewItem, rater: Rater) -> None:
    if not _has_room(review, item, rater):
        sentence = _("You were away for a while, and others have judged this case meanwhile. Your draft is kept.")
        raise UserError("judged_meanwhile", sentence, status=409)


def _left_key(review: Review, item: ReviewItem, rater: Rater) -> str:
    if review.kind != ReviewKind.PAIRS:
        return ""
    is_swapped = rater_turns(review, rater.name)[item.pk]
    return str(review.keys[1 if is_swapped else 0])


def _checked(review: Review, item: ReviewItem, choice: str, marks: Mapping[str, Any]) -> tuple[str, dict[str, int]]:
    if review.kind == ReviewKind.PAIRS:
        if choice not in Choice.values:
            sentence = _("Say which answer is better: left, right, equally good or both bad.")
            raise UserError("choice_missing", sentence, field="choice")
        return choice, {}
    if review.kind == ReviewKind.RUBRIC:
        return "", _checked_marks(review, marks)
    return "", {}


def _lead(measured: float | None, since_given: float) -> float:
    """Seconds as the page measured them, where they make sense, else since the case was given."""
    if measured is None or not 0 <= measured <= LONGEST_LEAD_SECONDS:
        return min(since_given, LONGEST_LEAD_SECONDS)
    return measured


def _checked_marks(review: Review, marks: Mapping[str, Any]) -> dict[str, int]:
    out: dict[str, int] = {}
    for question in review.rubric:
        mark = _mark(marks.get(question["name"]))
        if mark is None:
            sentence = _("Give a mark from 1 to 5: %(question)s") % {"question": question["question"]}
            raise UserError("mark_missing", sentence, field=f"mark-{question['name']}")
        out[question["name"]] = mark
    return out


def _mark(value: Any) -> int | None:
    return int(value) if not isinstance(value, bool) and str(value) in {"1", "2", "3", "4", "5"} else None


def _changed(review: Review, item: ReviewItem, correction: str) -> str:
    """The correction, empty when it says just what the answer says. Where correcting is the task, nothing at all is no
    answer: somebody has emptied the field."""
    clean = typed_text(correction, LONGEST_CORRECTION)
    if review.kind != ReviewKind.CORRECTION:
        return clean
    if clean in {typed_text(text, LONGEST_CORRECTION) for text in item.answers.values()}:
        return ""
    if not clean:
        sentence = _("Write the answer as it should be. If it is right, leave it as it stands.")
        raise UserError("correction_missing", sentence, field="correction")
    return clean


def _checked_draft(draft: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {
        name: typed_text(str(draft[name]), LONGEST_CORRECTION) for name in _DRAFTED if draft.get(name)
    }
    marks = draft.get("marks")
    if isinstance(marks, Mapping):
        kept["marks"] = {str(name)[:20]: mark for name, value in marks.items() if (mark := _mark(value)) is not None}
    return kept


def _record(rater: Rater, review: Review, act: str, item: ReviewItem) -> None:
    """That somebody judged is on record, not what they said: the trail is read before the review ends."""
    data: dict[str, Any] = {"item": item.number}
    if rater.link is not None:
        data["by"] = f"link {rater.link.pk}"
    record(actor=rater.actor, project=review.project, act=act, subject=f"review {review.pk}", data=data)
