"""Judging one case after another: by single keys, by buttons, on a phone, without JavaScript. Members come here from the
project; guests by their link (``views.review_guest``). Both get the very same card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from evaluation_app.choices import ReviewKind, ReviewState
from evaluation_app.models import Review, ReviewItem
from evaluation_app.operations import review_votes
from evaluation_app.permissions import Rater, rater_of
from evaluation_app.queries.reviews import RaterCard, rater_card
from finetune_engine.errors import UserError
from web_kit.htmx import is_htmx

KEEP_SECONDS = int(review_votes.LOCK_SECONDS / 4)
_DRAFTED = ("correction", "comment")


@dataclass(frozen=True)
class Place:
    """Where a rater judges: the review, who they are, the page's own addresses, and its templates."""

    review: Review
    rater: Rater
    here: str
    draft_url: str
    template: str
    actor: Actor | None = None


@project_page({"GET": Act.REVIEW, "POST": Act.REVIEW})
def queue(request: HttpRequest, actor: Actor, review_id: str) -> HttpResponse:
    """The next case. POST ``action`` vote, skip or undo for ``item``, or ``choice``, and gives the one after."""
    return judge(request, _place(actor, review_id))


@project_page({"POST": Act.REVIEW})
def draft(request: HttpRequest, actor: Actor, review_id: str) -> HttpResponse:
    """Keep what is typed, and the case before this person. Answers ``{"held": true}`` while it is theirs."""
    return keep(request, _place(actor, review_id))


def _place(actor: Actor, review_id: str) -> Place:
    review = fetch(actor, Review, pk=review_id)
    where = [actor.project.slug, review.pk]
    return Place(
        review=review,
        rater=rater_of(actor),
        here=reverse("evaluation:review_queue", args=where),
        draft_url=reverse("evaluation:review_draft", args=where),
        template="evaluation_app/review_queue.html",
        actor=actor,
    )


def judge(request: HttpRequest, place: Place) -> HttpResponse:
    """The page of the queue, and what is done on it."""
    if request.method != "POST" or place.review.state == ReviewState.CLOSED:
        return _page(request, place)
    try:
        said = _act(request, place)
    except UserError as error:
        if error.status == 422:
            return _page(request, place, error=error, status=422)
        _keep_typed(request, place)
        return _page(request, place, problem=error.sentence)
    if is_htmx(request):
        return _page(request, place, said=said)
    response = HttpResponse(status=303)
    response["Location"] = place.here
    return response


def keep(request: HttpRequest, place: Place) -> HttpResponse:
    """Keep a draft and hold the case on."""
    try:
        item = _item(request, place)
        is_held = review_votes.keep_draft(rater=place.rater, item=item, draft=_draft(request.POST))
    except UserError as error:
        if error.status == 409:
            return JsonResponse({"held": False, "why": error.sentence})
        raise
    return JsonResponse({"held": is_held})


def _act(request: HttpRequest, place: Place) -> str:
    """What was done, in words for a screen reader."""
    action = request.POST.get("action", "")
    if action == "undo":
        _keep_typed(request, place)
        review_votes.undo_vote(rater=place.rater, review=place.review)
        return _("Taken back. What you had said is still there.")
    item = _item(request, place)
    if action == "skip":
        _keep_typed(request, place)
        review_votes.skip(rater=place.rater, item=item)
        return _("Left for later.")
    typed = _typed(request.POST)
    review_votes.vote(
        rater=place.rater,
        item=item,
        choice=request.POST.get("choice", ""),
        marks=typed.get("marks"),
        correction=typed.get("correction", ""),
        comment=typed.get("comment", ""),
        lead_seconds=_seconds(request.POST.get("lead_seconds")),
    )
    return _("Saved.")


def _item(request: HttpRequest, place: Place) -> ReviewItem:
    found = ReviewItem.objects.filter(review=place.review, pk=request.POST.get("item", "")).first()
    if found is None:
        raise UserError("no_such_case", _("This review has no such case."), status=404)
    return found


def _typed(data: Mapping[str, Any]) -> dict[str, Any]:
    typed: dict[str, Any] = {name: data[name] for name in _DRAFTED if data.get(name)}
    marks = {name.removeprefix("mark-"): value for name, value in data.items() if name.startswith("mark-")}
    return typed | ({"marks": marks} if marks else {})


def _draft(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is typed now; None from a page that only holds the case on."""
    is_told = any(name in _DRAFTED or name.startswith("mark-") for name in data)
    return _typed(data) if is_told else None


def _keep_typed(request: HttpRequest, place: Place) -> None:
    """What was typed into a card that is left is not lost."""
    typed = _draft(request.POST)
    found = ReviewItem.objects.filter(review=place.review, pk=request.POST.get("item", "")).first()
    if typed is not None and found is not None:
        try:
            review_votes.keep_draft(rater=place.rater, item=found, draft=typed)
        except UserError:
            return  # it does not lie before them any more


def _seconds(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _page(
    request: HttpRequest,
    place: Place,
    *,
    said: str = "",
    problem: str = "",
    error: UserError | None = None,
    status: int = 200,
) -> HttpResponse:
    review = place.review
    context: dict[str, Any] = {
        "place": place,
        "review": review,
        "is_open": False,
        "is_pairs": review.kind == ReviewKind.PAIRS,
        "is_rubric": review.kind == ReviewKind.RUBRIC,
        "is_correction": review.kind == ReviewKind.CORRECTION,
        "keep_seconds": KEEP_SECONDS,
        "said": said,
        "problem": problem,
        "error": error,
    }
    if place.actor is not None:
        context |= {"project": place.actor.project, "may_train": place.actor.may(Act.TRAIN)}
    else:
        context["csrf_token"] = ""  # a guest needs no cookie: the address itself is the secret
    offer = _offer(place)
    if offer is not None:
        context |= {"queue": offer.queue, "is_open": True}
        if offer.item is not None and offer.lock is not None:
            typed = _typed(request.POST) if error and request.POST.get("item") == offer.item.pk else {}
            card = rater_card(review, offer.item, offer.queue, typed or offer.lock.draft)
            context |= {"card": card, "questions": _questions(review, card), "correction": _correction(review, card)}
    template = f"{place.template}#votes" if is_htmx(request) else place.template
    return render(request, template, context, status=status)


def _offer(place: Place) -> review_votes.Offer | None:
    """What lies before this person; None once the review is closed, be it at this very moment."""
    if place.review.state == ReviewState.CLOSED:
        return None
    try:
        return review_votes.next_item(rater=place.rater, review=place.review)
    except UserError as error:
        if error.code == "review_closed":
            return None
        raise


def _questions(review: Review, card: RaterCard) -> list[dict[str, Any]]:
    """The questions of a rubric with the words of each mark, and what is marked in the draft."""
    given = card.draft.get("marks") or {}
    return [
        {
            "name": question["name"],
            "question": question["question"],
            "marks": [
                {
                    "mark": mark,
                    "words": question["anchors"].get(str(mark), ""),
                    "is_chosen": str(given.get(question["name"], "")) == str(mark),
                }
                for mark in range(1, 6)
            ],
        }
        for question in review.rubric
    ]


def _correction(review: Review, card: RaterCard) -> str:
    """What the field of the correction holds: the draft, else the answer itself where correcting it is the task."""
    draft = card.draft.get("correction")
    if draft is not None:
        return str(draft)
    return card.answers[0] if review.kind == ReviewKind.CORRECTION else ""
