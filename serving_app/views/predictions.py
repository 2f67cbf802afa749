"""The log of what was asked and answered."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.models import ApiKey
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from finetune_engine.errors import UserError
from serving_app.choices import Door
from serving_app.forms.predictions import LogPolicyForm
from serving_app.log_files import log_download
from serving_app.models import LogPolicy, Prediction
from serving_app.operations.log_policy import set_log_policy
from serving_app.queries.escalations import conversation_of
from serving_app.queries.predictions import SEARCHED, LogFilters, log_policy, logged_models, predictions_matching
from web_kit.pagination import Page, paginate


@project_page({"GET": Act.VIEW})
def predictions(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Newest first, fifty to a page, as the filters say."""
    filters = LogFilters.of(request.GET)
    problem: UserError | None = None
    page: Page[Any] = Page([])
    try:
        rows = predictions_matching(actor.project, filters)
        page = paginate(rows, order=("-id",), cursor=request.GET.get("cursor"))
    except UserError as error:
        problem = error
    context = {
        "project": actor.project,
        "page": page,
        "filters": filters,
        "given": filters.given(),
        "problem": problem,
        "models": logged_models(actor.project),
        "doors": Door.choices,
        "keys": ApiKey.objects.filter(project=actor.project).order_by("name")[:100] if actor.may(Act.OWN) else [],
        "searched": SEARCHED,
        "may_predict": actor.may(Act.PREDICT),
        "may_own": actor.may(Act.OWN),
        "policy": log_policy(actor.project),
    }
    return render(request, "serving_app/predictions.html", context, status=problem.status if problem else 200)


@project_page({"GET": Act.VIEW})
def prediction(request: HttpRequest, actor: Actor, request_id: str) -> HttpResponse:
    """One question, its answer and everything that is known of both."""
    rows = Prediction.objects.select_related("api_key", "user", "deployment", "feedback_by", "handled_by")
    found = fetch(actor, rows, request_id=request_id)
    context = {
        "project": actor.project,
        "prediction": found,
        "turns": conversation_of(found),
        "params": sorted(found.params.items()),
        "may_predict": actor.may(Act.PREDICT),
    }
    return render(request, "serving_app/prediction.html", context)


@project_page({"GET": Act.VIEW})
def export_log(request: HttpRequest, actor: Actor) -> HttpResponseBase:
    """The log as ``csv`` or ``jsonl``, narrowed as on the page."""
    return log_download(request, actor, request.GET.get("form", "csv"), LogFilters.of(request.GET))


@project_page({"GET": Act.OWN, "POST": Act.OWN})
def log_settings(request: HttpRequest, actor: Actor) -> HttpResponse:
    """What the log keeps, and for how long."""
    policy: LogPolicy = log_policy(actor.project)
    names = ("keep_days", "masks_personal_data", "keeps_texts")
    form = LogPolicyForm(request.POST or None, initial={name: getattr(policy, name) for name in names})
    if request.method == "POST" and form.is_valid():
        set_log_policy(actor=actor, **form.cleaned_data)
        messages.success(request, _("Kept. It holds for what is asked from now on."))
        return redirect("serving:predictions", actor.project.slug)
    status = 422 if form.is_bound else 200
    return render(request, "serving_app/log_settings.html", {"project": actor.project, "form": form}, status=status)
