"""All trainings and trained models of a project."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from jobs_app import queries
from web_kit.pagination import Page, paginate

PER_PAGE = 25


@project_page(Act.VIEW)
def listing(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Trainings, the newest first."""
    page = paginate(
        queries.training_jobs(actor.project), order=("-id",), limit=PER_PAGE, cursor=request.GET.get("cursor")
    )
    names = queries.base_model_names()
    cards = [queries.training_card(training, names) for training in page]
    context = {
        "page": Page(cards, page.next_cursor, page.previous_cursor),
        "may_train": actor.may(Act.TRAIN),
        "may_own": actor.may(Act.OWN),
        "project": actor.project,
        "chosen": request.GET.get("chosen", ""),
    }
    return render(request, "jobs_app/listing.html", context)
