"""Two or more evaluations side by side."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from evaluation_app.queries.compare import FEWEST, compared_evaluations
from evaluation_app.queries.compare_words import pair_sentences, pair_title, pair_tone
from evaluation_app.queries.history import project_history
from evaluation_app.views.reviews import shade


@project_page({"GET": Act.VIEW})
def compare(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The evaluations named by ``?e=``; with fewer than two of them the page lets one choose."""
    chosen = request.GET.getlist("e")
    if len(chosen) < FEWEST:
        versions = project_history(actor.project).newest_first
        context = {"project": actor.project, "versions": versions, "chosen": chosen}
        return render(request, "evaluation_app/compare_choose.html", context)
    found = compared_evaluations(actor.project, chosen)
    for column in found.columns:
        if (hidden := shade(request, actor, column.evaluation)) is not None:
            return hidden
    context = {
        "project": actor.project,
        "comparison": found,
        "pairs": [(pair, pair_title(pair), pair_tone(pair), pair_sentences(pair)) for pair in found.pairs],
    }
    return render(request, "evaluation_app/compare.html", context)
