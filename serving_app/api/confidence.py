"""What a deployment's confidence is worth, and below which a person is asked."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from evaluation_app.models import Evaluation
from finetune_engine.errors import UserError
from serving_app.models import Calibration, Deployment
from serving_app.operations.calibrations import calibrate_model, keep_promise, set_human_threshold
from serving_app.queries.calibrations import confidence_view

router = Router(tags=["serving"])


class Threshold(Schema):
    """Either ``promised`` (the share of the other answers that must be right, 0..1), or ``ask_human_below`` (a calibrated
    confidence, 0..1; null: nobody is asked)."""

    promised: float | None = None
    ask_human_below: float | None = None


def _calibration_body(calibration: Calibration) -> dict[str, Any]:
    return {
        "id": calibration.pk,
        "trained_model": calibration.trained_model_id,
        "evaluation": calibration.evaluation_id,
        "created_at": calibration.created_at,
        "report": calibration.report,
    }


def _body(deployment: Deployment, promised: float | None) -> dict[str, Any]:
    known = confidence_view(deployment)
    choice = known.choice_for(promised) if promised is not None else None
    held = choice.held_out if choice is not None else None
    return {
        "deployment": deployment.pk,
        "ask_human_below": deployment.ask_human_below,
        "is_calibrated": known.calibration is not None,
        "calibration": _calibration_body(known.calibration) if known.calibration else None,
        "reason": known.refused or None,
        "answers_per_day": known.answers_per_day,
        "promise": choice
        and {
            "promised": choice.promised,
            "threshold": choice.threshold,
            "reason": choice.reason or None,
            "held_out": held.as_dict() if held else None,
            "for_people_per_day": known.people_per_day(held) if held else None,
        },
    }


@router.get(
    "/deployments/{deployment_id}/confidence",
    auth=key_auth(Act.VIEW),
    response=Any,
    summary="What its confidence is worth",
)
def confidence(request: HttpRequest, deployment_id: str, promised: float | None = None) -> Any:
    """The calibration and, with ``promised`` (0..1), the threshold that keeps that promise and what it costs."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return _body(fetch(actor, Deployment, pk=deployment_id), promised)


@router.post(
    "/deployments/{deployment_id}/confidence",
    auth=key_auth(Act.OWN),
    response=Any,
    summary="Say which answers a person must see",
)
def set_threshold(request: HttpRequest, deployment_id: str, payload: Threshold) -> Any:
    """By a promise or by hand. 409 when no threshold keeps the promise."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    deployment = fetch(actor, Deployment, pk=deployment_id)
    if payload.promised is not None:
        keep_promise(actor=actor, deployment=deployment, promised=payload.promised)
    elif "ask_human_below" in payload.model_fields_set:
        set_human_threshold(actor=actor, deployment=deployment, ask_human_below=payload.ask_human_below)
    else:
        raise UserError("threshold_missing", "Send 'promised', or 'ask_human_below'.", field="ask_human_below")
    return _body(deployment, payload.promised)


@router.post(
    "/evaluations/{evaluation_id}/calibrate",
    auth=key_auth(Act.TRAIN),
    response={201: Any},
    summary="Learn what the model's confidence is worth",
)
def calibrate(request: HttpRequest, evaluation_id: str) -> Any:
    """From this evaluation's answers, at least 300; the newest calibration counts."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    evaluations = Evaluation.objects.select_related("project", "trained_model")
    evaluation = fetch(actor, evaluations, pk=evaluation_id)
    return Status(201, _calibration_body(calibrate_model(actor=actor, evaluation=evaluation)))
