"""Human reviews for pages: lists, what lies before a rater, and where everybody stands.

While a review is open nothing here says which model wrote which answer, or what anybody voted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts_app.choices import Act
from accounts_app.models import Project
from accounts_app.permissions import Actor
from evaluation_app.choices import Bucket, ReviewKind, ReviewState
from evaluation_app.models import Evaluation, Review, ReviewItem, ReviewLock, Vote
from evaluation_app.queries.review_results import (
    HumanVerdict,
    ReviewResults,
    human_verdict,
    rater_turns,
    review_results,
    winner,
)

__all__ = ["HumanVerdict", "ReviewResults", "human_verdict", "rater_turns", "review_results"]

_WHO = {
    "user": _("Question"),
    "system": _("Instruction"),
    "developer": _("Instruction"),
    "assistant": _("Answer"),
    "tool": _("Tool"),
}


@dataclass(frozen=True)
class Queue:
    """Where one rater stands. ``left`` are cases they could still judge now or later; ``waiting`` are those of them
    whose last places are held by others at this moment. ``next_item`` is the id of what to give them; ``turns`` are their
    order and sides (see ``rater_turns``), ``own`` the cases that they hold or held, by id."""

    next_item: str | None
    done: int
    left: int
    waiting: int
    total: int
    turns: dict[str, bool] = field(default_factory=dict)
    own: dict[str, ReviewLock] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """One turn of the conversation before the answer."""

    role: str
    who: str
    text: str


@dataclass(frozen=True)
class RaterCard:
    """One case as a rater sees it: ``answers`` are left and right, or the only one. Nothing else of the case is told."""

    item: str
    conversation: list[Said]
    answers: list[str]
    draft: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ReviewCard:
    """A review in a list."""

    id: str
    name: str
    kind: str
    is_open: bool
    items: int
    raters_per_item: int
    votes: int
    created_at: datetime
    closed_at: datetime | None
    evaluation_id: str

    @property
    def wanted(self) -> int:
        """Votes until every case has all its raters."""
        return self.items * self.raters_per_item


def reviews_of(project: Project) -> QuerySet[Review]:
    """The project's reviews with the number of their items, newest first."""
    return Review.objects.filter(project=project).annotate(item_count=Count("items")).defer("results")


def review_cards(reviews: Sequence[Review]) -> list[ReviewCard]:
    """These reviews (of ``reviews_of``) for a list. One query."""
    votes = dict(
        Vote.objects.filter(item__review__in=[review.pk for review in reviews])
        .values_list("item__review")
        .annotate(n=Count("pk"))
        .order_by()
    )
    return [_review_card(review, votes.get(review.pk, 0)) for review in reviews]


def open_review(evaluation: Evaluation) -> Review | None:
    """The newest review that is not closed, of these answers or of another evaluation's answers to the same cases: a
    model that is asked again mostly says the same."""
    return Review.objects.filter(_same_cases(evaluation), state=ReviewState.OPEN).defer("results").first()


def is_kept_blind(actor: Actor, evaluation: Evaluation) -> bool:
    """Whether pages that tell the models' answers apart are hidden from this person: who judges and does not lead."""
    if actor.user is None or actor.may(Act.TRAIN) or not actor.may(Act.REVIEW):
        return False
    return Review.objects.filter(_same_cases(evaluation), state=ReviewState.OPEN).exists()


def _same_cases(evaluation: Evaluation) -> Q:
    return Q(evaluation__snapshot=evaluation.snapshot_id)


def queue_of(review: Review, rater: str) -> Queue:
    """Where this rater stands, and what to give them next. Three queries."""
    turns = rater_turns(review, rater)
    order = list(turns)
    votes = list(Vote.objects.filter(item__review=review).values_list("item_id", "rater"))
    locks = list(ReviewLock.objects.filter(item__review=review))
    now = timezone.now()
    mine = {item for item, who in votes if who == rater}
    voted = Counter(item for item, _who in votes)
    held = Counter(lock.item_id for lock in locks if lock.rater != rater and lock.expires_at > now)
    own = {lock.item_id: lock for lock in locks if lock.rater == rater}
    left = [item for item in order if item not in mine and voted[item] < review.raters_per_item]
    free = [item for item in left if voted[item] + held[item] < review.raters_per_item]
    return Queue(
        next_item=min(free, key=lambda item: _urgency(own.get(item), now), default=None),
        done=len(mine),
        left=len(left),
        waiting=len(left) - len(free),
        total=len(order),
        turns=turns,
        own=own,
    )


def rater_card(review: Review, item: ReviewItem, queue: Queue, draft: dict[str, Any] | None = None) -> RaterCard:
    """The case as the rater of this queue sees it. Both answers are trimmed alike and shown whole."""
    keys = list(review.keys)
    if review.kind == ReviewKind.PAIRS and queue.turns[item.pk]:
        keys.reverse()
    return blind_card(item, keys, draft)


def blind_card(item: ReviewItem, keys: Sequence[str], draft: dict[str, Any] | None = None) -> RaterCard:
    """The case with the answers of these models from left to right."""
    conversation = [
        Said(str(message.get("role") or ""), str(_WHO.get(str(message.get("role")), "")), _text(message))
        for message in item.messages
    ]
    return RaterCard(item.pk, conversation, [str(item.answers.get(key) or "").strip() for key in keys], draft or {})


def _text(message: Mapping[str, Any]) -> str:
    """A turn as text: what it says, part by part where it has parts, and the tools that it calls as ``name(arguments)``."""
    content = message.get("content") or ""
    if isinstance(content, list):
        content = "\n".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    told = [message.get("function_call"), *(call.get("function") for call in message.get("tool_calls") or [])]
    calls = [f"{call.get('name')}({_arguments(call.get('arguments'))})" for call in told if call]
    return "\n".join([text for text in (str(content), *calls) if text])


def _arguments(given: Any) -> str:
    return given if isinstance(given, str) else json.dumps(given or {}, ensure_ascii=False)


def split_items(review: Review) -> list[ReviewItem]:
    """Items of pairs that all their raters have judged, and not alike; in the order drawn."""
    if review.kind != ReviewKind.PAIRS:
        return []
    said: dict[str, list[str]] = {}
    votes = Vote.objects.filter(item__review=review).values_list("item_id", "choice", "left_key")
    for item, choice, left_key in votes:
        said.setdefault(item, []).append(winner(review.keys, choice, left_key))
    split = [pk for pk, all_said in said.items() if len(all_said) >= review.raters_per_item and len(set(all_said)) > 1]
    return list(ReviewItem.objects.filter(pk__in=split).select_related("decided_by").order_by("number"))


@dataclass(frozen=True)
class Correction:
    """An answer that a rater wrote instead, with the model's own (known only once the review is closed)."""

    vote: Vote
    item: ReviewItem
    rater: str
    shown: list[tuple[str, str]]  # (model, its answer)


def corrections_of(review: Review) -> list[Correction]:
    """What raters wrote instead of answers; empty while the review is open."""
    if review.state == ReviewState.OPEN:
        return []
    votes = Vote.objects.filter(item__review=review).exclude(correction="").order_by("item__number", "pk")
    return [
        Correction(
            vote, vote.item, rater_name(vote), [(key, str(vote.item.answers.get(key) or "")) for key in review.keys]
        )
        for vote in votes.select_related("item", "user", "link", "api_key")
    ]


def rater_name(vote: Vote) -> str:
    """Who voted, for people who lead the review."""
    if vote.user is not None:
        return str(vote.user)
    if vote.link is not None:
        return vote.link.name
    return vote.api_key.name if vote.api_key is not None else str(_("somebody who is gone"))


def _urgency(lock: ReviewLock | None, now: datetime) -> tuple[int, float]:
    """Smaller comes first: what lies before them, then what lay before them, then new cases, then skipped ones."""
    if lock is None:
        return (2, 0.0)
    if lock.is_skipped:
        return (3, lock.taken_at.timestamp())
    return (0 if lock.expires_at > now else 1, -lock.taken_at.timestamp())


def _review_card(review: Any, votes: int) -> ReviewCard:
    return ReviewCard(
        id=review.pk,
        name=review.name,
        kind=review.get_kind_display(),
        is_open=review.state == ReviewState.OPEN,
        items=review.item_count,
        raters_per_item=review.raters_per_item,
        votes=votes,
        created_at=review.created_at,
        closed_at=review.closed_at,
        evaluation_id=review.evaluation_id,
    )


def buckets_of(review: Review) -> dict[str, int]:
    """How many items were drawn for the sample and as the hardest."""
    found = dict(review.items.values_list("bucket").annotate(n=Count("pk")).order_by())
    return {bucket: found.get(bucket, 0) for bucket in Bucket.values}
