"""The list of evaluations."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from evaluation_app.queries import evaluations_of
from evaluation_app.queries.lists import evaluation_cards
from jobs_app.queries import trained_models
from web_kit.pagination import paginate


@project_page({"GET": Act.VIEW})
def listing(request: HttpRequest, actor: Actor) -> HttpResponse:
    """All evaluations of the project, newest first."""
    page = paginate(evaluations_of(actor.project), order=("-id",), cursor=request.GET.get("cursor"))
    context = {
        "project": actor.project,
        "cards": evaluation_cards(page),
        "page": page,
        "may_start": actor.may(Act.TRAIN),
        "has_models": trained_models(actor.project).exists(),
    }
    return render(request, "evaluation_app/listing.html", context)
