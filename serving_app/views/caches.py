"""Answers that are told again: the switch, what was told to whom, and whether that was right."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from finetune_engine.serve.semantic import DEFAULT_THRESHOLD
from finetune_engine.serve.semantic.report import reported_pairs, threshold_report
from serving_app.cache_plots import threshold_plot
from serving_app.choices import HitVerdict
from serving_app.forms.caches import CachesForm
from serving_app.models import Deployment, SemanticEntry, SemanticServing
from serving_app.operations.caches import allow_entry, change_caches, clear_caches, deny_entry, judge_serving
from serving_app.queries import current_deployment
from serving_app.queries.caches import (
    cache_figures,
    entries_of,
    false_hit_share,
    judged_servings,
    kept_count,
    servings_of,
)
from web_kit.pagination import paginate

DAYS = 7


@project_page({"GET": Act.VIEW, "POST": Act.OWN})
def caches(request: HttpRequest, actor: Actor) -> HttpResponse:
    """GET the page, POST the switches."""
    deployment = current_deployment(actor.project)
    form = CachesForm.of(deployment) if deployment else None
    if request.method == "POST" and deployment is not None:
        form = CachesForm(request.POST)
        if form.is_valid():
            change_caches(actor=actor, deployment=deployment, **form.cleaned_data)
            messages.success(request, _("Kept. It holds from the next question on."))
            return redirect("serving:caches", actor.project.slug)
    context = _context(request, actor, deployment) | {"form": form}
    return render(request, "serving_app/caches.html", context, status=422 if form and form.errors else 200)


def _context(request: HttpRequest, actor: Actor, deployment: Deployment | None) -> dict[str, Any]:
    project = actor.project
    shipped, own = threshold_report(reported_pairs()), judged_servings(project)
    return {
        "project": project,
        "deployment": deployment,
        "threshold": (deployment.semantic_threshold if deployment else None) or DEFAULT_THRESHOLD,
        "figures": cache_figures(project, DAYS),
        "days": DAYS,
        "kept": kept_count(project),
        "false_hits": false_hit_share(project),
        "page": paginate(servings_of(project), order=("-id",), limit=20, cursor=request.GET.get("cursor")),
        "shipped": shipped,
        "shipped_plot": threshold_plot(shipped),
        "own": threshold_report(own) if own else [],
        "may_own": actor.may(Act.OWN),
        "may_review": actor.may(Act.REVIEW),
    }


@project_page({"GET": Act.VIEW})
def cache_entries(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The kept questions with their answers, denied ones too."""
    page = paginate(entries_of(actor.project), order=("-id",), cursor=request.GET.get("cursor"))
    context = {"project": actor.project, "page": page, "may_own": actor.may(Act.OWN)}
    return render(request, "serving_app/caches_entries.html", context)


@project_page({"POST": Act.REVIEW})
def judge_cache_serving(request: HttpRequest, actor: Actor, serving_id: int) -> HttpResponse:
    """Whether two questions mean the same."""
    serving = fetch(actor, SemanticServing, pk=serving_id)
    verdict = request.POST.get("verdict", "")
    judge_serving(actor=actor, serving=serving, verdict=verdict)
    if verdict == HitVerdict.WRONG:
        messages.success(request, _("Thank you. This answer is not told again to other questions."))
    else:
        messages.success(
            request, _("Thank you. It counts in the share of wrong tellings.") if verdict else _("Undone.")
        )
    return redirect("serving:caches", actor.project.slug)


@project_page({"POST": Act.OWN})
def deny_cache_entry(request: HttpRequest, actor: Actor, entry_id: str) -> HttpResponse:
    """Never tell this answer to other questions."""
    deny_entry(actor=actor, entry=fetch(actor, SemanticEntry, pk=entry_id))
    messages.success(request, _("Denied. It is not told again; under Kept questions you can undo that."))
    return _back(request, actor)


@project_page({"POST": Act.OWN})
def allow_cache_entry(request: HttpRequest, actor: Actor, entry_id: str) -> HttpResponse:
    """Take a denial back."""
    allow_entry(actor=actor, entry=fetch(actor, SemanticEntry, pk=entry_id))
    messages.success(request, _("It may be told again."))
    return _back(request, actor)


@project_page({"POST": Act.OWN})
def clear_all_caches(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Forget every kept answer."""
    clear_caches(actor=actor)
    messages.success(request, _("All kept answers are forgotten. The next questions go to the model."))
    return redirect("serving:caches", actor.project.slug)


def _back(request: HttpRequest, actor: Actor) -> HttpResponse:
    """To the list from which the button was pressed."""
    name = "serving:cache_entries" if request.POST.get("from") == "entries" else "serving:caches"
    return redirect(name, actor.project.slug)
