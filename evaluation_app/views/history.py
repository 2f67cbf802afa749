"""One figure over all versions of the project."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from evaluation_app.queries.history import project_history


@project_page({"GET": Act.VIEW})
def history(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The figure of ``?metric=`` (the headline by default), each version beside the ones it may be compared with."""
    found = project_history(actor.project, request.GET.get("metric", ""))
    context = {
        "project": actor.project,
        "history": found,
        "drawing": found.drawing(actor.project.slug) if len(found.versions) > 1 else "",
        "may_start": actor.may(Act.TRAIN),
    }
    return render(request, "evaluation_app/history.html", context)
