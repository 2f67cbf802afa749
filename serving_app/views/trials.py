"""A second model beside the one in use: start, look at both, change the share, end, or put it into use."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from evaluation_app.queries import is_signed_off
from finetune_engine.errors import UserError
from serving_app.choices import DeploymentState
from serving_app.forms.deployments import TrialForm
from serving_app.models import Deployment
from serving_app.operations import end_trial, promote_trial, start_trial
from serving_app.queries import current_deployment, model_label, named_model
from serving_app.queries.trials import comparison_of, trials_of


@project_page({"GET": Act.VIEW, "POST": Act.OWN})
def trial(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Both models side by side (``?trial=`` names an earlier one); a POST starts one or changes its share."""
    if request.method == "POST":
        return _start(request, actor)
    trials = trials_of(actor.project)
    wanted = request.GET.get("trial", "")
    shown = next((row for row in trials if row.pk == wanted or not wanted), None)
    is_running = shown is not None and shown.state == DeploymentState.ACTIVE
    context = {
        "project": actor.project,
        "deployment": current_deployment(actor.project),
        "trial": shown,
        "trials": trials,
        "is_running": is_running,
        "is_coming": shown is not None and shown.state == DeploymentState.PREPARING,
        "is_signed": shown is None or shown.trained_model is None or is_signed_off(shown.trained_model),
        "comparison": comparison_of(shown) if shown else None,
        "form": TrialForm(initial={"role": shown.role, "percent": shown.share_percent}) if shown else None,
        "may_own": actor.may(Act.OWN),
    }
    return render(request, "serving_app/trial.html", context)


def _start(request: HttpRequest, actor: Actor) -> HttpResponse:
    form = TrialForm(request.POST)
    if not form.is_valid():
        raise UserError("invalid_value", _("Choose how, and a share from 1 to 100 percent."), field="percent")
    trained = named_model(actor.project, request.POST.get("model", ""))
    started = start_trial(
        actor=actor,
        trained_model=trained,
        base_model_key="" if trained else request.POST.get("base_model", ""),
        role=form.cleaned_data["role"],
        percent=form.cleaned_data["percent"],
    )
    messages.success(request, _("%(name)s is on trial.") % {"name": model_label(started)})
    return redirect("serving:trial", actor.project.slug)


@project_page({"POST": Act.OWN})
def finish_trial(request: HttpRequest, actor: Actor, deployment_id: str) -> HttpResponse:
    """The model in use goes on alone; the comparison stays."""
    end_trial(actor=actor, trial=fetch(actor, Deployment, pk=deployment_id))
    messages.success(request, _("The trial has ended. What it showed stays here."))
    return redirect("serving:trial", actor.project.slug)


@project_page({"POST": Act.OWN})
def promote(request: HttpRequest, actor: Actor, deployment_id: str) -> HttpResponse:
    """Put the model on trial into use."""
    trial = fetch(actor, Deployment.objects.select_related("trained_model"), pk=deployment_id)
    deployment = promote_trial(actor=actor, trial=trial)
    if deployment.state == DeploymentState.ACTIVE:
        messages.success(request, _("%(name)s is in use now.") % {"name": model_label(deployment)})
    return redirect("serving:detail", actor.project.slug)
