"""Saying what one thinks of an answer, from wherever it is shown."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from serving_app.choices import Verdict
from serving_app.models import Feedback, Prediction
from serving_app.operations import give_feedback
from serving_app.operations.feedback import take_feedback_back
from serving_app.queries.feedback import answer_of, feedback_of


@project_page({"POST": Act.PREDICT})
def feedback(request: HttpRequest, actor: Actor, request_id: str) -> HttpResponse:
    """Keep ``verdict``, ``reason`` (several), ``comment`` and ``correction``; with ``act`` undo take them back. JSON for a script
    that asks for it, else back to ``next``."""
    if request.POST.get("act") == "undo":
        given = fetch(actor, feedback_of(actor.project), request_id=request_id)
        take_feedback_back(actor=actor, feedback=given)
        return _answer(request, actor, request_id, _("Taken back: nobody has judged this answer."))
    given = _given(request, actor, answer_of(actor, request_id))
    return _answer(request, actor, request_id, _said(actor, given), given)


def _given(request: HttpRequest, actor: Actor, prediction: Prediction) -> Feedback:
    return give_feedback(
        actor=actor,
        prediction=prediction,
        verdict=request.POST.get("verdict", ""),
        reasons=request.POST.getlist("reason"),
        comment=request.POST.get("comment", ""),
        correction=request.POST.get("correction", "").replace("\r\n", "\n"),
    )


def _said(actor: Actor, given: Feedback) -> str:
    if given.verdict == Verdict.GOOD:
        return _("Thank you. Your verdict is kept with the answer.")
    if not given.correction:
        return _("Thank you. If you know the right answer, write it down: a model learns only from that.")
    if actor.may(Act.TRAIN):
        return _("Thank you. The correction waits on the page Improve: propose it as a row there.")
    return _("Thank you. The correction waits on the page Improve until somebody who may train proposes it.")


def _answer(
    request: HttpRequest, actor: Actor, request_id: str, sentence: str, given: Feedback | None = None
) -> HttpResponse:
    if "application/json" in request.headers.get("Accept", ""):
        told = {"verdict": given.verdict, "corrected": bool(given.correction)} if given else {"verdict": ""}
        return JsonResponse(told | {"sentence": sentence})
    messages.success(request, sentence)
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure()):
        return redirect(wanted)
    if given is not None and given.verdict == Verdict.BAD and not given.correction:
        return redirect(reverse("serving:prediction", args=[actor.project.slug, request_id]) + "#feedback")
    return redirect("serving:predictions", actor.project.slug)
