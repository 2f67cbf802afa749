"""What is in use, how it does, how to call it; and the acts that change it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from evaluation_app.models import Evaluation
from evaluation_app.operations.sign_off import STANDING
from evaluation_app.queries import is_signed_off, latest_verdict, signed_off_ids
from finetune_engine.errors import UserError
from jobs_app.queries import base_models, trained_models
from serving_app.choices import BackendKind, DeploymentState
from serving_app.forms.deployments import SettingsForm, TrialForm
from serving_app.models import Deployment, Replica
from serving_app.operations import change_settings, deploy_model, retire_deployment, roll_back
from serving_app.playground import playground_panes
from serving_app.queries import (
    Health,
    coming_deployment,
    current_deployment,
    current_trial,
    deployments_of,
    fresh_replicas,
    model_label,
    model_of,
    named_model,
    served_remote,
    serving_health,
    traffic_of,
)
from serving_app.queries.calibrations import newest_curve
from serving_app.snippets import call_snippets, site_address

HISTORY = 10
CANDIDATES = 12


@project_page({"GET": Act.VIEW})
def detail(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The page Use. While something is on its way, ``?watching=1`` is drawn anew every second, and the whole page at its end."""
    return _page(request, actor)


def _page(request: HttpRequest, actor: Actor, form: SettingsForm | None = None, status: int = 200) -> HttpResponse:
    project = actor.project
    deployment, coming, trial = current_deployment(project), coming_deployment(project), current_trial(project)
    used = deployment.trained_model if deployment else None
    is_calibrated = bool(deployment and newest_curve(deployment.trained_model_id))
    is_waiting = bool(coming or (trial and trial.state == DeploymentState.PREPARING))
    history = list(deployments_of(project)[:HISTORY])
    replicas = fresh_replicas()
    candidates = _candidates(actor, deployment, trial, request.GET.get("model", ""))
    context = {
        "project": project,
        "deployment": deployment,
        "coming": coming,
        "trial": trial,
        "failed": _failed(history),
        "is_waiting": is_waiting,
        "is_unsigned": used is not None and not is_signed_off(used),
        "evaluation": latest_verdict(used) if used else None,
        "health": _health(deployment),
        "replicas": replicas,
        "backends": _backends(deployment, replicas),
        "traffic": traffic_of(project),
        "history": history,
        "candidates": candidates,
        "others": [entry for entry in candidates if not entry["is_used"]],
        "base_models": [card for card in base_models(project) if card.is_available],
        "can_roll_back": bool(deployment and deployment.previous_id),
        "settings_form": form or (SettingsForm.of(deployment) if deployment else None),
        "is_calibrated": is_calibrated,
        "trial_form": TrialForm(),
        "snippets": call_snippets(site_address(request)),
        "panes": playground_panes(project, deployment),
        "may_own": actor.may(Act.OWN),
        "may_predict": actor.may(Act.PREDICT),
    }
    response = render(request, "serving_app/detail.html", context, status=status)
    if request.GET.get("watching") and not is_waiting:
        response["HX-Refresh"] = "true"
    return response


def _health(deployment: Deployment | None) -> Health:
    if deployment is None:
        return serving_health(None)
    try:
        serving_id = model_of(deployment).serving_id
        return serving_health(serving_id, is_elsewhere=served_remote(serving_id) is not None)
    except UserError as error:  # its provider's key, or its base model, is gone
        return replace(serving_health(None), is_alive=False, sentence=error.sentence)


def _backends(deployment: Deployment | None, replicas: list[Replica]) -> list[BackendKind]:
    """What could run the model in use; empty where there is no choice."""
    used = deployment.trained_model if deployment else None
    if deployment is None or (used is not None and used.remote_name):
        return []
    kinds = [BackendKind.TRANSFORMERS, BackendKind.VLLM]
    found = [kind for kind in kinds if any(kind in replica.backends for replica in replicas)]
    return found if len(found) > 1 else []


def _failed(history: list[Deployment]) -> Deployment | None:
    """The newest one when it could not be loaded: nothing has been chosen since."""
    newest = history[0] if history else None
    return newest if newest is not None and newest.state == DeploymentState.FAILED else None


def _candidates(
    actor: Actor, deployment: Deployment | None, trial: Deployment | None, wanted: str
) -> list[dict[str, Any]]:
    """Models to put into use; the ``wanted`` one (a trained model's page sent us here) comes first."""
    used = deployment.trained_model_id if deployment else None
    rows = list(trained_models(actor.project)[:CANDIDATES])
    if wanted and all(trained.pk != wanted for trained in rows):
        rows = [*trained_models(actor.project).filter(pk=wanted), *rows]
    rows.sort(key=lambda trained: trained.pk != wanted)
    chosen = next((trained.pk for trained in rows if trained.pk == wanted or not used), None)
    signed = signed_off_ids([trained.pk for trained in rows])
    return [
        {
            "model": trained,
            "is_used": trained.pk == used,
            "is_tried": trial is not None and trained.pk == trial.trained_model_id,
            "is_chosen": trained.pk == chosen != used,
            "is_signed": trained.pk in signed,
        }
        for trained in rows
    ]


@project_page({"POST": Act.OWN})
def deploy(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Put a model into use; the owner may sign for a trained one in the same act."""
    base = request.POST.get("base_model", "")
    trained = named_model(actor.project, request.POST.get("model", ""))
    if trained is None and not base:
        raise UserError("model_missing", _("Choose one of this project's models."), field="model")
    judged = request.POST.get("evaluation", "")
    deployment = deploy_model(
        actor=actor,
        trained_model=trained,
        base_model_key="" if trained else base,
        backend=request.POST.get("backend") or BackendKind.AUTO,
        sign_off=_statement(request),
        evaluation=fetch(actor, Evaluation, pk=judged) if judged else None,
    )
    if deployment.state == DeploymentState.ACTIVE:
        messages.success(request, _("%(name)s is in use now.") % {"name": model_label(deployment)})
    return redirect("serving:detail", actor.project.slug)


def _statement(request: HttpRequest) -> str:
    """What the owner signs: their own words, else the sentence beside the box that they ticked."""
    return request.POST.get("statement", "").strip() or (STANDING if request.POST.get("sign_off") else "")


@project_page({"POST": Act.OWN})
def rollback(request: HttpRequest, actor: Actor, deployment_id: str) -> HttpResponse:
    """Return to the model before this one."""
    deployment = roll_back(actor=actor, deployment=fetch(actor, Deployment, pk=deployment_id))
    if deployment.state == DeploymentState.ACTIVE:
        messages.success(request, _("Rolled back: %(name)s is in use again.") % {"name": model_label(deployment)})
    return redirect("serving:detail", actor.project.slug)


@project_page({"POST": Act.OWN})
def retire(request: HttpRequest, actor: Actor, deployment_id: str) -> HttpResponse:
    """Take the model out of use; the person typed the alias to confirm. What is still on its way is called off without."""
    deployment = fetch(actor, Deployment, pk=deployment_id)
    is_coming = deployment.state == DeploymentState.PREPARING
    if not is_coming and request.POST.get("confirm_name", "").strip() != deployment.alias:
        raise UserError("not_confirmed", _("Type “%(name)s” to confirm.") % {"name": deployment.alias}, "confirm_name")
    retire_deployment(actor=actor, deployment=deployment)
    said = _("Called off. What was in use stays in use.")
    if not is_coming:
        said = _("The model is out of use. Calls without a model name are refused now.")
    messages.success(request, said)
    return redirect("serving:detail", actor.project.slug)


@project_page({"POST": Act.OWN})
def settings(request: HttpRequest, actor: Actor, deployment_id: str) -> HttpResponse:
    """Change how the model in use answers."""
    deployment = fetch(actor, Deployment.objects.select_related("trained_model"), pk=deployment_id)
    form = SettingsForm(request.POST)
    if not form.is_valid():
        return _page(request, actor, form, status=422)
    try:
        change_settings(actor=actor, deployment=deployment, **form.changes)
    except UserError as error:
        form.add_user_error(error)
        return _page(request, actor, form, status=error.status)
    messages.success(request, _("The settings hold from now on."))
    return redirect("serving:detail", actor.project.slug)
