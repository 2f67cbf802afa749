"""The JSON twin of the pages: deployments, the prediction log, feedback."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from evaluation_app.models import Evaluation
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from jobs_app.queries import find_base_model
from serving_app.choices import PRODUCTION
from serving_app.models import Deployment, Prediction
from serving_app.operations import deploy_model, give_feedback, retire_deployment, roll_back
from serving_app.queries import deployments_of, predictions_of
from web_kit.pagination import paginate

router = Router(tags=["serving"])


class NewDeployment(Schema):
    """``model`` is a trained model's API name or id, or the key of a base model. A trained model must be signed off:
    beforehand, or here by ``sign_off`` (the owner's statement) resting on ``evaluation`` (its id)."""

    model: str
    alias: str = PRODUCTION
    sign_off: str = ""
    evaluation: str | None = None


class Feedback(Schema):
    """``verdict`` is good or bad; ``correction`` what the answer should have been."""

    verdict: str
    correction: str = ""


def _deployment_body(deployment: Deployment) -> dict[str, Any]:
    return {
        "id": deployment.pk,
        "alias": deployment.alias,
        "model": deployment.model_name,
        "trained_model": deployment.trained_model_id,
        "base_model": deployment.base_model_key or None,
        "status": deployment.state,
        "previous": deployment.previous_id,
        "created_at": deployment.created_at,
        "retired_at": deployment.retired_at,
    }


def _prediction_body(prediction: Prediction) -> dict[str, Any]:
    names = (
        "door", "input", "output", "params", "status", "error", "confidence", "cached",
        "prompt_tokens", "completion_tokens", "verdict", "correction", "at",
    )  # fmt: skip
    return {
        "id": prediction.request_id,
        "model": prediction.model_name,
        "deployment": prediction.deployment_id,
        "latency": prediction.latency_seconds,
        **{name: getattr(prediction, name) for name in names},
    }


@router.post("/deployments", auth=key_auth(Act.OWN), response={201: Any}, summary="Put a model into use")
def create(request: HttpRequest, payload: NewDeployment) -> Any:
    """The model answers from now on when a caller names none, or ``production``."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    mine = TrainedModel.objects.filter(project=actor.project)
    trained = mine.filter(api_name=payload.model).first() or mine.filter(pk=payload.model).first()
    if trained is None and find_base_model(payload.model) is None:
        raise UserError(
            "model_not_found", f"There is no model {payload.model!r} in this project.", field="model", status=404
        )
    deployment = deploy_model(
        actor=actor,
        trained_model=trained,
        base_model_key="" if trained else payload.model,
        alias=payload.alias,
        sign_off=payload.sign_off,
        evaluation=fetch(actor, Evaluation, pk=payload.evaluation) if payload.evaluation else None,
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
    """Return to the model before this one; the answer is the deployment that is in use now."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return _deployment_body(roll_back(actor=actor, deployment=fetch(actor, Deployment, pk=deployment_id)))


@router.post("/deployments/{deployment_id}/retire", auth=key_auth(Act.OWN), response=Any, summary="Take out of use")
def retire(request: HttpRequest, deployment_id: str) -> Any:
    """Nothing answers for the alias afterwards."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return _deployment_body(retire_deployment(actor=actor, deployment=fetch(actor, Deployment, pk=deployment_id)))


@router.get("/predictions", auth=key_auth(Act.VIEW), response=Any, summary="The prediction log")
def predictions(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    page = paginate(predictions_of(actor.project), order=("-id",), limit=limit, cursor=cursor)
    return {"data": [_prediction_body(prediction) for prediction in page], "next_cursor": page.next_cursor}


@router.post(
    "/predictions/{request_id}/feedback",
    auth=key_auth(Act.PREDICT),
    response=Any,
    summary="Say what you think of an answer",
)
def feedback(request: HttpRequest, request_id: str, payload: Feedback) -> Any:
    """``request_id`` is the one that ``/predict`` returned, or the header ``X-Request-Id`` of the OpenAI calls."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    prediction = give_feedback(
        actor=actor,
        prediction=fetch(actor, Prediction, request_id=request_id),
        verdict=payload.verdict,
        correction=payload.correction,
    )
    return _prediction_body(prediction)
