"""The queue of answers that the model was not sure enough of: one card at a time, by single keys or buttons."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from finetune_engine.errors import UserError
from serving_app.models import Prediction
from serving_app.operations.escalations import confirm_answer, correct_answer, reopen_answer
from serving_app.queries import current_deployment
from serving_app.queries.calibrations import newest_curve
from serving_app.queries.escalations import (
    LEAST_SURE,
    OLDEST,
    conversation_of,
    last_handled_by,
    next_to_check,
    queue_counts,
    to_check_of,
)
from serving_app.sureness import sureness_words

LISTED = 12
_OF_THE_FIELD = {"correction_missing", "correction_unchanged", "too_long"}


@project_page({"GET": Act.VIEW, "POST": Act.REVIEW})
def to_check(request: HttpRequest, actor: Actor) -> HttpResponse:
    """GET shows the card behind ``after``, or ``card``; POST carries out ``action``: right, correct, skip or undo."""
    order = LEAST_SURE if request.GET.get("order") == LEAST_SURE else OLDEST
    if request.method != "POST":
        return render(request, "serving_app/to_check.html", _context(actor, order, _card(request, actor, order)))
    action = request.POST.get("action", "")
    if action == "undo":
        return _undone(request, actor, order)
    prediction = fetch(actor, Prediction, request_id=request.POST.get("prediction", ""))
    try:
        _decide(request, actor, prediction, action)
    except UserError as error:
        if error.code in _OF_THE_FIELD:
            context = _context(actor, order, prediction)
            context |= {"error": error.sentence, "typed": request.POST.get("correction", "")}
            return render(request, "serving_app/to_check.html", context, status=422)
        if error.code != "already_handled":
            raise
        messages.warning(request, error.sentence)
    return _onwards(actor, order, after=prediction.request_id)


def _decide(request: HttpRequest, actor: Actor, prediction: Prediction, action: str) -> None:
    if action == "right":
        confirm_answer(actor=actor, prediction=prediction)
    elif action == "correct":
        correct_answer(actor=actor, prediction=prediction, correction=request.POST.get("correction", ""))
    elif action != "skip":
        raise UserError("unknown_action", _("Choose one of the buttons on the card."), "action")


def _undone(request: HttpRequest, actor: Actor, order: str) -> HttpResponse:
    last = last_handled_by(actor.project, actor.user)
    if last is None:
        messages.info(request, _("There is no decision of yours to take back."))
        return _onwards(actor, order)
    try:
        reopen_answer(actor=actor, prediction=last)
    except UserError as error:
        messages.warning(request, error.sentence)
        return _onwards(actor, order)
    messages.success(request, _("Taken back. The answer waits again."))
    return _onwards(actor, order, card=last.request_id)


def _onwards(actor: Actor, order: str, **where: str) -> HttpResponse:
    query = {"order": order} if order != OLDEST else {}
    return redirect(f"{reverse('serving:to_check', args=[actor.project.slug])}?{urlencode(query | where)}".rstrip("?"))


def _card(request: HttpRequest, actor: Actor, order: str) -> Prediction | None:
    mine = Prediction.objects.filter(project=actor.project)
    if wanted := request.GET.get("card", ""):
        asked = to_check_of(actor.project, order).select_related("deployment").filter(request_id=wanted).first()
        if asked is not None:
            return asked
    after = mine.filter(request_id=request.GET.get("after", "")).first()
    return next_to_check(actor.project, order, after)


def _context(actor: Actor, order: str, card: Prediction | None) -> dict[str, Any]:
    deployment = current_deployment(actor.project)
    return {
        "project": actor.project,
        "order": order,
        "card": card,
        "turns": conversation_of(card) if card is not None else [],
        "sureness": sureness_words(card.calibrated, card.confidence) if card is not None else "",
        "counts": queue_counts(actor.project, actor.user),
        "waiting": list(to_check_of(actor.project, order)[:LISTED]),
        "last": last_handled_by(actor.project, actor.user),
        "deployment": deployment,
        "below": deployment.ask_human_below if deployment is not None else None,
        "is_calibrated": deployment is not None and newest_curve(deployment.trained_model_id) is not None,
        "may_review": actor.may(Act.REVIEW),
    }
