"""The log of what was asked and answered."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from serving_app.models import Prediction
from serving_app.operations import give_feedback
from serving_app.queries import predictions_of, traffic_of
from web_kit.pagination import paginate


@project_page({"GET": Act.VIEW})
def predictions(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Newest first, fifty to a page."""
    page = paginate(predictions_of(actor.project), order=("-id",), cursor=request.GET.get("cursor"))
    context = {
        "project": actor.project,
        "page": page,
        "traffic": traffic_of(actor.project),
        "may_predict": actor.may(Act.PREDICT),
    }
    return render(request, "serving_app/predictions.html", context)


@project_page({"POST": Act.PREDICT})
def feedback(request: HttpRequest, actor: Actor, request_id: str) -> HttpResponse:
    """Keep a verdict and, if given, the right answer."""
    prediction = fetch(actor, Prediction, request_id=request_id)
    give_feedback(
        actor=actor,
        prediction=prediction,
        verdict=request.POST.get("verdict", ""),
        correction=request.POST.get("correction", ""),
    )
    messages.success(request, _("Thank you. Your verdict is kept with the answer."))
    return redirect("serving:predictions", actor.project.slug)
