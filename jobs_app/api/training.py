"""The JSON twin of the pages: base models, jobs and trained models."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from ninja import Router, Status
from pydantic import BaseModel, ConfigDict, Field

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from datasets_app.models import Dataset, Snapshot
from finetune_engine.errors import UserError
from finetune_engine.train.spec import TrainingSpec
from jobs_app import queries
from jobs_app.models import ProviderConnection, TrainedModel, TrainingJob
from jobs_app.operations import start_training
from web_kit.ids import ID_LENGTH
from work_kit.choices import State, StopAction
from work_kit.models import JobEvent
from work_kit.operations import request_stop, resume_job
from work_kit.queries import events_after, job_card, metric_points
from work_kit.views.stream import job_events

router = Router(tags=["training"])
DEFAULTS = TrainingSpec().as_dict()


class JobIn(BaseModel):  # not ninja's Schema, which drops the fields it does not know
    """A training: a base model, the data, and any TrainingSpec field that shall differ from its default."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "description": "Besides these, every field of TrainingSpec; left out, it is automatic.",
            "examples": [{"base_model": "demo-base", "snapshot": "0" * ID_LENGTH, "num_train_epochs": 3}],
            "x-training-spec-defaults": DEFAULTS,
        },
    )

    base_model: str
    snapshot: str | None = Field(None, description="Id of a snapshot; or give a dataset.")
    dataset: str | None = Field(None, description="Id of a dataset, whose rows are frozen first when needed.")
    validation_dataset: str | None = Field(None, description="Id of a dataset of its own to check with.")
    parent_model: str | None = Field(None, description="Id of a trained model of the same base model, to go on from.")
    name: str = ""
    suffix: str = ""
    metadata: dict[str, str] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict, description="TrainingSpec fields may stand here too.")
    connection: str | None = Field(None, description="Id of a key at a provider; left out, the fitting one is used.")
    provider_settings: dict[str, Any] = Field(
        default_factory=dict,
        description="For a provider's model: n_epochs, batch_size, learning_rate_multiplier and beta, numbers or 'auto'.",
    )
    cost_approved: bool = Field(False, description="Somebody agreed to what a training at a provider costs.")


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return actor


@router.get("/training-defaults", auth=key_auth(Act.VIEW), summary="Every training setting and its default")
def training_defaults(request: HttpRequest) -> dict[str, Any]:
    """The fields of TrainingSpec."""
    return DEFAULTS


@router.post("/jobs", auth=key_auth(Act.TRAIN), response={201: dict[str, Any]}, summary="Start a training")
def create_job(request: HttpRequest, body: JobIn) -> Status[dict[str, Any]]:
    """Answers 201 once the job is safely stored. ``Idempotency-Key`` makes a repeated call return the first job."""
    actor = _actor(request)
    snapshot = mine(actor, Snapshot, body.snapshot, "snapshot")
    dataset = mine(actor, Dataset, body.dataset, "dataset")
    training = start_training(
        actor=actor,
        name=body.name,
        base_model_key=body.base_model,
        snapshot=snapshot,
        dataset=dataset,
        spec=body.training | (body.model_extra or {}),
        suffix=body.suffix,
        metadata=body.metadata,
        idempotency_key=request.headers.get("Idempotency-Key"),
        validation_dataset=mine(actor, Dataset, body.validation_dataset, "validation_dataset"),
        parent_model=mine(actor, TrainedModel, body.parent_model, "parent_model"),
        connection=mine(actor, ProviderConnection, body.connection, "connection"),
        provider_settings=body.provider_settings,
        cost_approved=body.cost_approved,
    )
    return Status(201, job_json(_training(actor, training.pk)))


def mine(actor: Actor, model: Any, pk: str | None, field: str) -> Any:
    """The project's object that a field of a body names; None without an id. Raises UserError (404) naming the field."""
    if not pk:
        return None
    try:
        return fetch(actor, model, pk=pk)
    except Http404 as missing:
        raise UserError(
            f"{field}_not_found", f"This project has no {field} {pk!r}.", field=field, status=404
        ) from missing


@router.get("/jobs", auth=key_auth(Act.VIEW), summary="Trainings, the newest first")
def list_jobs(request: HttpRequest, cursor: str = "", limit: int = 50) -> dict[str, Any]:
    """Pass ``next_cursor`` as ``cursor`` to read on."""
    limit = max(1, min(limit, 200))
    rows = queries.training_jobs(_actor(request).project)
    found = list((rows.filter(pk__lt=cursor) if cursor else rows)[: limit + 1])
    more = len(found) > limit
    return {"data": [job_json(row) for row in found[:limit]], "next_cursor": found[limit - 1].pk if more else None}


@router.get("/jobs/{job_id}", auth=key_auth(Act.VIEW), summary="One training")
def get_job(request: HttpRequest, job_id: str) -> dict[str, Any]:
    """Its state, settings and progress, and its model when there is one."""
    return job_json(_training(_actor(request), job_id))


@router.post("/jobs/{job_id}/cancel", auth=key_auth(Act.TRAIN), summary="Cancel and discard")
def cancel_job(request: HttpRequest, job_id: str) -> dict[str, Any]:
    """Everything the job made is discarded."""
    return _stop(request, job_id, StopAction.CANCEL)


@router.post("/jobs/{job_id}/pause", auth=key_auth(Act.TRAIN), summary="Pause")
def pause_job(request: HttpRequest, job_id: str) -> dict[str, Any]:
    """Saves a checkpoint and frees the machine."""
    return _stop(request, job_id, StopAction.PAUSE)


@router.post("/jobs/{job_id}/stop-and-keep", auth=key_auth(Act.TRAIN), summary="Stop and keep the best so far")
def stop_and_keep_job(request: HttpRequest, job_id: str) -> dict[str, Any]:
    """Ends the training early with a model."""
    return _stop(request, job_id, StopAction.STOP_AND_KEEP)


@router.post("/jobs/{job_id}/resume", auth=key_auth(Act.TRAIN), summary="Resume a paused training")
def resume_training(request: HttpRequest, job_id: str) -> dict[str, Any]:
    """Goes on from the newest checkpoint."""
    actor = _actor(request)
    resume_job(actor=actor, job=_training(actor, job_id).work)
    return job_json(_training(actor, job_id))


def _stop(request: HttpRequest, job_id: str, action: str) -> dict[str, Any]:
    actor = _actor(request)
    request_stop(actor=actor, job=_training(actor, job_id).work, action=action)
    return job_json(_training(actor, job_id))


@router.get("/jobs/{job_id}/events", auth=key_auth(Act.VIEW), summary="What happens in a training")
def get_events(request: HttpRequest, job_id: str, after: int = 0, limit: int = 1000) -> HttpResponseBase:
    """Server-sent events with ids; with ``Accept: application/json`` those ``after`` an id, oldest first."""
    training = _training(_actor(request), job_id)
    if "application/json" not in request.headers.get("Accept", ""):
        return job_events(request, training.work)
    limit = max(1, min(limit, 5000))
    rows = events_after(training.work_id, after, limit)
    cursor = rows[-1].pk if len(rows) == limit else None
    return JsonResponse({"data": [_event_json(row) for row in rows], "next_cursor": cursor})


def _event_json(event: JobEvent) -> dict[str, Any]:
    return {
        "id": event.pk,
        "kind": event.kind,
        "attempt": event.attempt,
        "at": event.at.isoformat(),
        "data": event.data,
    }


@router.get("/jobs/{job_id}/metrics", auth=key_auth(Act.VIEW), summary="One point for each step")
def get_metrics(request: HttpRequest, job_id: str) -> dict[str, Any]:
    """Steps ascending; a step that was repeated after an interruption counts once."""
    return {"data": metric_points(_training(_actor(request), job_id).work_id), "next_cursor": None}


@router.get("/models", auth=key_auth(Act.VIEW), summary="Trained models, the newest first")
def list_models(request: HttpRequest) -> dict[str, Any]:
    """The project's trained models."""
    return {"data": [model_json(row) for row in queries.trained_models(_actor(request).project)], "next_cursor": None}


def _training(actor: Actor, job_id: str) -> TrainingJob:
    return fetch(actor, queries.training_jobs(actor.project), pk=job_id)


def job_json(training: TrainingJob) -> dict[str, Any]:
    """A training as ``/api/v1`` shows it. ``spec`` is complete; ``settings`` is what was asked for."""
    card = job_card(training.work)
    model = queries.trained_model_of(training)
    failed = training.work.state == State.FAILED
    error = {"reason": training.work.failure_reason, **card.failure, "advice": card.advice} if failed else None
    return {
        "id": training.pk,
        "openai_id": training.openai_id,
        "name": training.name,
        "status": training.work.state,
        "phase": card.phase,
        "progress": {"percent": card.percent, "done": card.done, "total": card.total, "unit": card.unit},
        "eta_seconds": card.eta_seconds,
        "base_model": training.base_model_key,
        "dataset": training.dataset_id,
        "snapshot": training.snapshot_id,
        "validation_dataset": training.validation_dataset_id,
        "parent_model": training.parent_model_id,
        "suffix": training.suffix,
        "metadata": training.metadata,
        "settings": training.spec,
        "spec": DEFAULTS | training.spec,
        "attempt": training.work.attempt,
        "device": training.work.device,
        "error": error,
        "trained_model": model_json(model) if model is not None else None,
        "created_at": training.created_at.isoformat(),
        "started_at": card.started_at.isoformat() if card.started_at else None,
        "finished_at": card.finished_at.isoformat() if card.finished_at else None,
    }


def model_json(model: TrainedModel) -> dict[str, Any]:
    """A trained model as ``/api/v1`` shows it."""
    return {
        "id": model.pk,
        "name": model.name,
        "api_name": model.api_name,
        "base_model": model.base_model_key,
        "remote_name": model.remote_name or None,  # what the provider that keeps it calls it
        "job": model.training_job_id,
        "checkpoint_step": model.checkpoint_step,
        "metrics": model.metrics,
        "size_bytes": model.size_bytes,
        "manifest_sha256": model.manifest_sha256,
        "created_at": model.created_at.isoformat(),
    }
