"""Human review for programs: ``/api/v1/reviews``. As blind as the pages: ``next`` tells left and right, never who."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from evaluation_app.choices import ReviewKind, ReviewState
from evaluation_app.models import Evaluation, Review, ReviewItem
from evaluation_app.operations import review_votes
from evaluation_app.operations.review_corrections import send_corrections, withdraw_corrections
from evaluation_app.operations.review_links import invite_reviewer, revoke_reviewer
from evaluation_app.operations.reviews import adjudicate, close_review, discard_review, start_review
from evaluation_app.permissions import Rater, rater_of
from evaluation_app.queries import reviews as reads
from evaluation_app.queries.review_results import sides_for_decision
from finetune_engine.errors import UserError
from web_kit.pagination import paginate

router = Router(tags=["reviews"])


class NewReview(Schema):
    """``keys`` are the models of the report whose answers are shown: two for ``pairs``, one for ``rubric`` and
    ``correction``; empty takes the evaluation's own. ``rubric`` is ``[{question, anchors: {"1": ..., "5": ...}}]``."""

    kind: str = ReviewKind.PAIRS
    keys: list[str] = Field(default_factory=list)
    size: int = 50
    stratify_by: str | None = None
    hardest: int = 0
    raters_per_item: int = 1
    rubric: list[dict[str, Any]] | None = None
    instructions: str = ""
    name: str = ""


class NewVote(Schema):
    """``item`` as ``next`` gave it. ``choice``: ``left``, ``right``, ``tie`` or ``both_bad``; ``marks``: by question."""

    item: str
    choice: str = ""
    marks: dict[str, int] = Field(default_factory=dict)
    correction: str = ""
    comment: str = ""
    lead_seconds: float | None = None


class OfItem(Schema):
    """Names a case."""

    item: str


class Draft(OfItem):
    """What is typed so far; an empty one only holds the case on."""

    marks: dict[str, int] = Field(default_factory=dict)
    correction: str = ""
    comment: str = ""


class LastWord(OfItem):
    """``choice`` on the sides that ``/reviews/{id}/split`` shows to this key; empty takes it back."""

    choice: str = ""
    note: str = ""


class NewLink(Schema):
    """Somebody from outside."""

    name: str
    email: str = ""
    days: int = 14


def _actor(request: HttpRequest) -> Actor:
    found: Actor = request.auth  # type: ignore[attr-defined]
    return found


def _review(request: HttpRequest, review_id: str) -> Review:
    rows = Review.objects.select_related(
        "evaluation", "evaluation__snapshot", "evaluation__snapshot__dataset", "project"
    )
    return fetch(_actor(request), rows.select_related("evaluation__trained_model"), pk=review_id)


def _item(review: Review, item_id: str) -> ReviewItem:
    found = review.items.filter(pk=item_id).first()
    if found is None:
        raise UserError("no_such_case", "This review has no such case.", "item", status=404)
    return found


def _body(card: reads.ReviewCard) -> dict[str, Any]:
    return {
        "id": card.id,
        "name": card.name,
        "evaluation": card.evaluation_id,
        "status": "open" if card.is_open else "closed",
        "items": card.items,
        "raters_per_item": card.raters_per_item,
        "votes": card.votes,
        "created_at": card.created_at,
        "closed_at": card.closed_at,
    }


def _one(request: HttpRequest, review_id: str) -> dict[str, Any]:
    found = fetch(_actor(request), reads.reviews_of(_actor(request).project), pk=review_id)
    asked = {"kind": found.kind, "instructions": found.instructions, "rubric": found.rubric}
    return _body(reads.review_cards([found])[0]) | asked


@router.post(
    "/evaluations/{evaluation_id}/review", auth=key_auth(Act.TRAIN), response={201: Any}, summary="Start a review"
)
def create(request: HttpRequest, evaluation_id: str, payload: NewReview) -> Any:
    """Draw cases of an evaluation for people to judge blind. The same ``Idempotency-Key`` gives the first review."""
    evaluation = fetch(_actor(request), Evaluation.objects.select_related("trained_model"), pk=evaluation_id)
    once = request.headers.get("Idempotency-Key")
    review = start_review(actor=_actor(request), evaluation=evaluation, idempotency_key=once, **payload.dict())
    return Status(201, _one(request, review.pk))


@router.get("/reviews", auth=key_auth(Act.VIEW), response=Any, summary="List reviews")
def listing(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first."""
    page = paginate(reads.reviews_of(_actor(request).project), order=("-id",), limit=limit, cursor=cursor)
    return {"data": [_body(card) for card in reads.review_cards(list(page))], "next_cursor": page.next_cursor}


@router.get("/reviews/{review_id}", auth=key_auth(Act.VIEW), response=Any, summary="One review")
def detail(request: HttpRequest, review_id: str) -> Any:
    """What is asked, and how far it is."""
    return _one(request, review_id)


@router.get("/reviews/{review_id}/next", auth=key_auth(Act.REVIEW), response=Any, summary="The next case to judge")
def following(request: HttpRequest, review_id: str) -> Any:
    """The case that lies before this key, else the next free one, held for some minutes. ``item`` null: none is free."""
    review = _review(request, review_id)
    return _offered(review, rater_of(_actor(request)))


def _offered(review: Review, rater: Rater) -> dict[str, Any]:
    offer = review_votes.next_item(rater=rater, review=review)
    queue = {name: getattr(offer.queue, name) for name in ("done", "left", "waiting", "total")}
    if offer.item is None or offer.lock is None:
        return {"item": None, "progress": queue}
    card = reads.rater_card(review, offer.item, offer.queue, offer.lock.draft)
    names = ("left", "right") if review.kind == ReviewKind.PAIRS else ("answer",)
    return {
        "item": card.item,
        "messages": [{"role": said.role, "content": said.text} for said in card.conversation],
        **dict(zip(names, card.answers, strict=True)),
        "draft": card.draft,
        "held_until": offer.lock.expires_at,
        "progress": queue,
    }


@router.post("/reviews/{review_id}/votes", auth=key_auth(Act.REVIEW), response={201: Any}, summary="Judge a case")
def cast(request: HttpRequest, review_id: str, payload: NewVote) -> Any:
    """Once for each case that ``next`` gave."""
    review = _review(request, review_id)
    said = payload.dict(exclude={"item"})
    made = review_votes.vote(rater=rater_of(_actor(request)), item=_item(review, payload.item), **said)
    return Status(201, {"item": payload.item, "at": made.at})


@router.post("/reviews/{review_id}/skip", auth=key_auth(Act.REVIEW), response=Any, summary="Leave a case for later")
def skip(request: HttpRequest, review_id: str, payload: OfItem) -> Any:
    """It comes again after all others."""
    review_votes.skip(rater=rater_of(_actor(request)), item=_item(_review(request, review_id), payload.item))
    return {"item": payload.item}


@router.post("/reviews/{review_id}/undo", auth=key_auth(Act.REVIEW), response=Any, summary="Take back one's last vote")
def undo(request: HttpRequest, review_id: str) -> Any:
    """The case lies before this key again."""
    item = review_votes.undo_vote(rater=rater_of(_actor(request)), review=_review(request, review_id))
    return {"item": item.pk}


@router.post("/reviews/{review_id}/draft", auth=key_auth(Act.REVIEW), response=Any, summary="Keep a draft")
def draft(request: HttpRequest, review_id: str, payload: Draft) -> Any:
    """Also holds the case on. ``held`` false: others have taken its places meanwhile."""
    typed = {name: value for name, value in payload.dict(exclude={"item"}).items() if value} or None
    item = _item(_review(request, review_id), payload.item)
    return {"held": review_votes.keep_draft(rater=rater_of(_actor(request)), item=item, draft=typed)}


@router.get("/reviews/{review_id}/results", auth=key_auth(Act.VIEW), response=Any, summary="Progress, then results")
def results(request: HttpRequest, review_id: str) -> Any:
    """While it is open who has done how much; once it is closed what came out, with the models' names."""
    return reads.review_results(_review(request, review_id)).as_dict()


@router.get(
    "/reviews/{review_id}/split", auth=key_auth(Act.TRAIN), response=Any, summary="Cases on which raters differ"
)
def split(request: HttpRequest, review_id: str) -> Any:
    """With both answers on sides drawn for this key, blind like the votes; empty once the review is closed."""
    review = _review(request, review_id)
    items = reads.split_items(review) if review.state == ReviewState.OPEN else []
    sides = sides_for_decision(review, items, _actor(request))
    return {"data": [_split(item, sides[item.pk]) for item in items], "next_cursor": None}


def _split(item: ReviewItem, sides: tuple[str, str]) -> dict[str, Any]:
    card = reads.blind_card(item, sides)
    left, right = card.answers
    messages = [{"role": said.role, "content": said.text} for said in card.conversation]
    return {"item": item.pk, "messages": messages, "left": left, "right": right, "is_decided": bool(item.decision)}


@router.post(
    "/reviews/{review_id}/adjudicate", auth=key_auth(Act.TRAIN), response=Any, summary="The last word on a case"
)
def last_word(request: HttpRequest, review_id: str, payload: LastWord) -> Any:
    """Where raters differ, before the review is closed."""
    item = _item(_review(request, review_id), payload.item)
    decided = adjudicate(actor=_actor(request), item=item, choice=payload.choice, note=payload.note)
    return {"item": decided.pk, "is_decided": bool(decided.decision)}


@router.post("/reviews/{review_id}/close", auth=key_auth(Act.TRAIN), response=Any, summary="End a review")
def close(request: HttpRequest, review_id: str) -> Any:
    """Works out and keeps the results, and opens the names of the models."""
    return reads.review_results(close_review(actor=_actor(request), review=_review(request, review_id))).as_dict()


@router.delete("/reviews/{review_id}", auth=key_auth(Act.TRAIN), response={204: None}, summary="Discard a review")
def discard(request: HttpRequest, review_id: str) -> Any:
    """Only one that nobody has voted in."""
    discard_review(actor=_actor(request), review=_review(request, review_id))
    return Status(204, None)


@router.post(
    "/reviews/{review_id}/links", auth=key_auth(Act.OWN), response={201: Any}, summary="Invite an outside reviewer"
)
def invite(request: HttpRequest, review_id: str, payload: NewLink) -> Any:
    """``path`` holds the secret; it is told now and never again."""
    link, token = invite_reviewer(actor=_actor(request), review=_review(request, review_id), **payload.dict())
    body = {"id": link.pk, "name": link.name, "expires_at": link.expires_at, "path": f"/review/{token}/"}
    return Status(201, body)


@router.delete(
    "/reviews/{review_id}/links/{link_id}", auth=key_auth(Act.OWN), response={204: None}, summary="Withdraw a link"
)
def revoke(request: HttpRequest, review_id: str, link_id: str) -> Any:
    """It stops working at once."""
    link = _review(request, review_id).links.select_related("review").filter(pk=link_id).first()
    if link is None:
        raise UserError("no_such_link", "This review has no such link.", status=404)
    revoke_reviewer(actor=_actor(request), link=link)
    return Status(204, None)


@router.post(
    "/reviews/{review_id}/corrections", auth=key_auth(Act.TRAIN), response={202: Any}, summary="Corrections to the data"
)
def corrections(request: HttpRequest, review_id: str) -> Any:
    """Every correction of a closed review becomes a row that waits in the dataset's review queue."""
    sent = send_corrections(actor=_actor(request), review=_review(request, review_id))
    return Status(202, {"added": sent.added, "known": sent.known, "job": sent.job.pk if sent.job else None})


@router.delete(
    "/reviews/{review_id}/corrections", auth=key_auth(Act.TRAIN), response={202: Any}, summary="Take corrections back"
)
def take_back(request: HttpRequest, review_id: str) -> Any:
    """The corrections are taken out of the dataset again."""
    withdraw_corrections(actor=_actor(request), review=_review(request, review_id))
    return Status(202, {"review": review_id})
