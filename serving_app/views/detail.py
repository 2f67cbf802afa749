"""What is in use, how it does, how to call it; and the acts that change it."""

from __future__ import annotations

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
from jobs_app.models import TrainedModel
from jobs_app.queries import models_with_files
from serving_app.models import Deployment
from serving_app.operations import deploy_model, retire_deployment, roll_back
from serving_app.playground import playground_panes
from serving_app.queries import (
    current_deployment,
    deployments_of,
    predictions_of,
    served_model,
    serving_health,
    traffic_of,
)
from serving_app.snippets import call_snippets, site_address

RECENT = 8
HISTORY = 10
CANDIDATES = 12


@project_page({"GET": Act.VIEW})
def detail(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The page Use."""
    project = actor.project
    deployment = current_deployment(project)
    model = served_model(project, "") if deployment else None
    used = deployment.trained_model if deployment else None
    context = {
        "project": project,
        "deployment": deployment,
        "is_unsigned": used is not None and not is_signed_off(used),
        "evaluation": latest_verdict(used) if used else None,
        "health": serving_health(model.serving_id if model else None),
        "traffic": traffic_of(project),
        "recent": list(predictions_of(project)[:RECENT]),
        "history": list(deployments_of(project)[:HISTORY]),
        "candidates": _candidates(actor, deployment, request.GET.get("model", "")),
        "can_roll_back": bool(deployment and deployment.previous_id),
        "snippets": call_snippets(site_address(request)),
        "panes": playground_panes(project, deployment),
        "may_own": actor.may(Act.OWN),
        "may_predict": actor.may(Act.PREDICT),
    }
    return render(request, "serving_app/detail.html", context)


def _candidates(actor: Actor, deployment: Deployment | None, wanted: str) -> list[dict[str, Any]]:
    """Models to put into use; the ``wanted`` one (a trained model's page sent us here) comes first."""
    used = deployment.trained_model_id if deployment else None
    rows = list(models_with_files(actor.project)[:CANDIDATES])
    if wanted and all(trained.pk != wanted for trained in rows):
        rows = [*models_with_files(actor.project).filter(pk=wanted), *rows]
    rows.sort(key=lambda trained: trained.pk != wanted)
    chosen = next((trained.pk for trained in rows if trained.pk == wanted or not used), None)
    signed = signed_off_ids([trained.pk for trained in rows])
    return [
        {
            "model": trained,
            "is_used": trained.pk == used,
            "is_chosen": trained.pk == chosen != used,
            "is_signed": trained.pk in signed,
        }
        for trained in rows
    ]


@project_page({"POST": Act.OWN})
def deploy(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Put a trained model into use; the owner may sign for it in the same act."""
    trained = TrainedModel.objects.filter(project=actor.project, pk=request.POST.get("model", "")).first()
    if trained is None:
        raise UserError("model_missing", _("Choose one of this project's models."), field="model")
    judged = request.POST.get("evaluation", "")
    deployment = deploy_model(
        actor=actor,
        trained_model=trained,
        sign_off=_statement(request),
        evaluation=fetch(actor, Evaluation, pk=judged) if judged else None,
    )
    messages.success(request, _("%(name)s is in use now.") % {"name": trained.name})
    return redirect("serving:detail", deployment.project.slug)


def _statement(request: HttpRequest) -> str:
    """What the owner signs: their own words, else the sentence beside the box that they ticked."""
    return request.POST.get("statement", "").strip() or (STANDING if request.POST.get("sign_off") else "")


@project_page({"POST": Act.OWN})
def rollback(request: HttpRequest, actor: Actor, deployment_id: str) -> HttpResponse:
    """Return to the model before this one."""
    deployment = roll_back(actor=actor, deployment=fetch(actor, Deployment, pk=deployment_id))
    messages.success(request, _("Rolled back: %(name)s is in use again.") % {"name": deployment.model_name})
    return redirect("serving:detail", actor.project.slug)


@project_page({"POST": Act.OWN})
def retire(request: HttpRequest, actor: Actor, deployment_id: str) -> HttpResponse:
    """Take the model out of use; the person typed the alias to confirm."""
    deployment = fetch(actor, Deployment, pk=deployment_id)
    if request.POST.get("confirm_name", "").strip() != deployment.alias:
        raise UserError("not_confirmed", _("Type “%(name)s” to confirm.") % {"name": deployment.alias}, "confirm_name")
    retire_deployment(actor=actor, deployment=deployment)
    messages.success(request, _("The model is out of use. Calls without a model name are refused now."))
    return redirect("serving:detail", actor.project.slug)
