"""Deployments, as the page Use."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from evaluation_app.models import Evaluation
from finetune_engine.errors import UserError
from jobs_app.queries import find_base_model
from serving_app.choices import PRODUCTION, BackendKind, DeploymentRole, DeploymentState
from serving_app.models import Deployment
from serving_app.operations import (
    change_settings,
    deploy_model,
    end_trial,
    promote_trial,
    retire_deployment,
    roll_back,
    start_trial,
)
from serving_app.operations.checking import SETTINGS
from serving_app.queries import current_trial, deployments_of, named_model
from serving_app.queries.trials import comparison_of
from web_kit.pagination import paginate

router = Router(tags=["serving"])


class NewDeployment(Schema):
    """``model`` is a trained model's API name or id, or the key of a base model. A trained model must be signed off:
    beforehand, or here by ``sign_off`` (the owner's statement) resting on ``evaluation`` (its id)."""

    model: str
    alias: str = PRODUCTION
    backend: str = BackendKind.AUTO
    sign_off: str = ""
    evaluation: str | None = None


class NewTrial(Schema):
    """``role`` is ``shadow`` (answers copies of ``percent`` of the questions, for nobody to see) or ``split`` (answers that
    share itself, so a trained model must be signed off as for deploying)."""

    model: str
    role: str = DeploymentRole.SHADOW
    percent: int = 100
    backend: str = BackendKind.AUTO
    sign_off: str = ""
    evaluation: str | None = None


class SignOff(Schema):
    """The owner's statement and the evaluation it rests on, where the model is not signed off yet."""

    sign_off: str = ""
    evaluation: str | None = None


class Settings(Schema):
    """Only what is sent is changed; null means the default, or never for ``ask_human_below``."""

    default_temperature: float | None = None
    uses_exact_cache: bool = True
    uses_semantic_cache: bool = False
    semantic_threshold: float | None = None
    ask_human_below: float | None = None


def _deployment_body(deployment: Deployment) -> dict[str, Any]:
    progress = deployment.progress
    is_preparing = deployment.state == DeploymentState.PREPARING
    return {
        "id": deployment.pk,
        "alias": deployment.alias,
        "role": deployment.role,
        "share_percent": deployment.share_percent,
        "model": deployment.model_name,
        "trained_model": deployment.trained_model_id,
        "base_model": deployment.base_model_key or None,
        "backend": deployment.backend,
        "status": deployment.state,
        "progress": {"ready": len(progress.get("ready") or ()), "replicas": progress.get("replicas")}
        if is_preparing
        else None,
        "template": progress.get("template"),
        "problem": deployment.problem or None,
        "previous": deployment.previous_id,
        "settings": {name: getattr(deployment, name) for name in SETTINGS},
        "created_at": deployment.created_at,
        "activated_at": deployment.activated_at,
        "retired_at": deployment.retired_at,
    }


def _model(actor: Actor, name: str) -> dict[str, Any]:
    """The model that a call names, as the operations take it."""
    trained = named_model(actor.project, name)
    if trained is None and find_base_model(name) is None:
        raise UserError("model_not_found", f"There is no model {name!r} in this project.", field="model", status=404)
    return {"trained_model": trained, "base_model_key": "" if trained else name}


def _signature(actor: Actor, payload: NewDeployment | NewTrial | SignOff) -> dict[str, Any]:
    judged = fetch(actor, Evaluation, pk=payload.evaluation) if payload.evaluation else None
    return {"sign_off": payload.sign_off, "evaluation": judged}


def _trial(actor: Actor, deployment_id: str) -> Deployment:
    """The trial beside a deployment, or the deployment itself when it is one. Raises UserError 404 without one."""
    found = fetch(actor, Deployment, pk=deployment_id)
    trial = found if found.role != DeploymentRole.MAIN else current_trial(actor.project, found.alias)
    if trial is None:
        raise UserError("no_trial", "No model is on trial beside this deployment.", status=404)
    return trial


@router.post("/deployments", auth=key_auth(Act.OWN), response={201: Any}, summary="Put a model into use")
def create(request: HttpRequest, payload: NewDeployment) -> Any:
    """The model answers when a caller names none, or ``production``: at once where nothing was in use, otherwise as soon as
    the model servers have loaded it (``status`` is ``preparing`` until then; ask for the deployment again)."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    deployment = deploy_model(
        actor=actor,
        **_model(actor, payload.model),
        alias=payload.alias,
        backend=payload.backend,
        **_signature(actor, payload),
    )
    return Status(201, _deployment_body(deployment))


@router.get("/deployments", auth=key_auth(Act.VIEW), response=Any, summary="List deployments")
def deployments(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first, retired ones included."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    page = paginate(deployments_of(actor.project), order=("-id",), limit=limit, cursor=cursor)
    return {"data": [_deployment_body(deployment) for deployment in page], "next_cursor": page.next_cursor}


@router.get("/deployments/{deployment_id}", auth=key_auth(Act.VIEW), response=Any, summary="One deployment")
def deployment(request: HttpRequest, deployment_id: str) -> Any:
    """Its model and whether it is in use."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return _deployment_body(fetch(actor, Deployment, pk=deployment_id))


@router.post("/deployments/{deployment_id}/rollback", auth=key_auth(Act.OWN), response=Any, summary="Roll back")
def rollback(request: HttpRequest, deployment_id: str) -> Any:
    """Return to the model before this one: at once when the model servers still have it in memory, otherwise the answer is
    ``preparing`` until they have loaded it."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return _deployment_body(roll_back(actor=actor, deployment=fetch(actor, Deployment, pk=deployment_id)))


@router.post("/deployments/{deployment_id}/retire", auth=key_auth(Act.OWN), response=Any, summary="Take out of use")
def retire(request: HttpRequest, deployment_id: str) -> Any:
    """Nothing answers for the alias afterwards. One that is still ``preparing`` is called off."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return _deployment_body(retire_deployment(actor=actor, deployment=fetch(actor, Deployment, pk=deployment_id)))


@router.patch("/deployments/{deployment_id}", auth=key_auth(Act.OWN), response=Any, summary="Change settings")
def settings(request: HttpRequest, deployment_id: str, payload: Settings) -> Any:
    """How it answers from now on: temperature, caches, and below which confidence a person is asked."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    changes = payload.model_dump(exclude_unset=True)
    return _deployment_body(
        change_settings(actor=actor, deployment=fetch(actor, Deployment, pk=deployment_id), **changes)
    )


@router.post("/deployments/{deployment_id}/trial", auth=key_auth(Act.OWN), response={201: Any}, summary="Try a model")
def begin_trial(request: HttpRequest, deployment_id: str, payload: NewTrial) -> Any:
    """Beside this deployment; the same model again changes its role and share."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    beside = fetch(actor, Deployment, pk=deployment_id)
    trial = start_trial(
        actor=actor,
        **_model(actor, payload.model),
        role=payload.role,
        percent=payload.percent,
        alias=beside.alias,
        backend=payload.backend,
        **_signature(actor, payload),
    )
    return Status(201, _deployment_body(trial))


@router.delete("/deployments/{deployment_id}/trial", auth=key_auth(Act.OWN), response=Any, summary="End a trial")
def finish_trial(request: HttpRequest, deployment_id: str) -> Any:
    """What is in use goes on alone."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return _deployment_body(end_trial(actor=actor, trial=_trial(actor, deployment_id)))


@router.post("/deployments/{deployment_id}/trial/promote", auth=key_auth(Act.OWN), response=Any, summary="Promote")
def promote(request: HttpRequest, deployment_id: str, payload: SignOff) -> Any:
    """Put the model on trial into use, as ``POST /deployments`` does."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    trial = _trial(actor, deployment_id)
    return _deployment_body(promote_trial(actor=actor, trial=trial, **_signature(actor, payload)))


@router.get(
    "/deployments/{deployment_id}/trial/comparison", auth=key_auth(Act.VIEW), response=Any, summary="Compare a trial"
)
def comparison(request: HttpRequest, deployment_id: str) -> Any:
    """Both models since the trial began; ``deployment_id`` is the main deployment's, or that of a trial that has ended."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return comparison_of(_trial(actor, deployment_id)).as_dict()
