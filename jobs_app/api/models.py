"""The JSON twin of the pages about saved states, models made of them, and house-keeping."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest
from ninja import Router, Status
from pydantic import BaseModel, ConfigDict, Field

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from jobs_app import queries
from jobs_app.api import model_json
from jobs_app.disk_parts import parts_of
from jobs_app.models import Checkpoint, TrainedModel, TrainingJob
from jobs_app.operations import delete_trained_model, retention
from jobs_app.operations.checkpoint_models import drop_checkpoint_model, use_checkpoint
from jobs_app.queries.housekeeping import disk_use
from work_kit.occupancy import as_dict, occupancy

router = Router(tags=["training"])


class RetentionIn(BaseModel):
    """Days after the end of a job; null keeps for ever."""

    model_config = ConfigDict(extra="forbid")

    checkpoint_days: int | None = Field(None, ge=1, le=3650)
    log_days: int | None = Field(None, ge=1, le=3650)


class CleanIn(BaseModel):
    """What to remove now: ``checkpoints`` or ``logs`` of ended jobs."""

    model_config = ConfigDict(extra="forbid")

    kind: str


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return actor


def _training(request: HttpRequest, job_id: str) -> TrainingJob:
    actor = _actor(request)
    return fetch(actor, queries.training_jobs(actor.project), pk=job_id)


def _checkpoint(training: TrainingJob, step: int) -> Checkpoint:
    found = next((row for row in queries.usable_checkpoints(training) if row.step == step), None)
    if found is None:
        raise Http404("no such checkpoint")
    return found


@router.get("/jobs/{job_id}/checkpoints", auth=key_auth(Act.VIEW), summary="Saved states of a training")
def list_checkpoints(request: HttpRequest, job_id: str) -> dict[str, Any]:
    """The latest step first; ``trained_model`` is the id of the model that was made of a state."""
    training = _training(request, job_id)
    models = queries.models_by_step(training)
    rows = queries.usable_checkpoints(training)
    return {"data": [_checkpoint_json(row, models.get(row.step)) for row in rows], "next_cursor": None}


@router.post(
    "/jobs/{job_id}/checkpoints/{int:step}/model",
    auth=key_auth(Act.TRAIN),
    response={201: dict[str, Any]},
    summary="Use a saved state as a model",
)
def make_model(request: HttpRequest, job_id: str, step: int) -> Status[dict[str, Any]]:
    """The model can be evaluated, deployed and downloaded. The same state again gives the same model."""
    training = _training(request, job_id)
    model = use_checkpoint(actor=_actor(request), checkpoint=_checkpoint(training, step))
    return Status(201, model_json(model))


@router.delete(
    "/jobs/{job_id}/checkpoints/{int:step}/model", auth=key_auth(Act.TRAIN), response={204: None}, summary="Undo it"
)
def drop_model(request: HttpRequest, job_id: str, step: int) -> Status[None]:
    """The model that was made of this state goes; the state stays. 409 while something uses the model."""
    model = queries.models_by_step(_training(request, job_id)).get(step)
    if model is None:
        raise Http404("no model was made of this state")
    drop_checkpoint_model(actor=_actor(request), model=model)
    return Status(204, None)


@router.get("/models/{model_id}", auth=key_auth(Act.VIEW), summary="One trained model")
def get_model(request: HttpRequest, model_id: str) -> dict[str, Any]:
    """With its run record."""
    model = fetch(_actor(request), TrainedModel, pk=model_id)
    return model_json(model) | {"run": model.run}


@router.delete("/models/{model_id}", auth=key_auth(Act.OWN), response={204: None}, summary="Delete a trained model")
def delete_model(request: HttpRequest, model_id: str) -> Status[None]:
    """With its files. 409 while something uses it."""
    actor = _actor(request)
    delete_trained_model(actor=actor, model=fetch(actor, TrainedModel, pk=model_id))
    return Status(204, None)


@router.get(
    "/machines", auth=key_auth(Act.VIEW), summary="Workers, devices, and where this project's jobs stand in line"
)
def get_machines(request: HttpRequest) -> dict[str, Any]:
    """Of other projects only that their jobs are there."""
    return as_dict(occupancy([_actor(request).project.pk]))


@router.get("/housekeeping", auth=key_auth(Act.VIEW), summary="What takes up disk, and how long it is kept")
def get_housekeeping(request: HttpRequest) -> dict[str, Any]:
    """Bytes and files by kind, and of these what can go."""
    project = _actor(request).project
    days = retention.retention_of(project)
    return {
        "data": [part.as_dict() for part in disk_use(project) + parts_of(project)],
        "retention": {"checkpoint_days": days.checkpoint_days, "log_days": days.log_days},
        "next_cursor": None,
    }


@router.put("/housekeeping/retention", auth=key_auth(Act.OWN), summary="How long ended jobs' leftovers are kept")
def put_retention(request: HttpRequest, body: RetentionIn) -> dict[str, Any]:
    """Applied once a day."""
    days = retention.set_retention(actor=_actor(request), checkpoint_days=body.checkpoint_days, log_days=body.log_days)
    return {"checkpoint_days": days.checkpoint_days, "log_days": days.log_days}


@router.post("/housekeeping/clean", auth=key_auth(Act.OWN), summary="Clean up now")
def clean(request: HttpRequest, body: CleanIn) -> dict[str, Any]:
    """Removes what ``GET /housekeeping`` says can go of this kind."""
    freed = retention.clean_up(actor=_actor(request), kind=body.kind)
    return {"kind": body.kind, "items": freed.items, "bytes": freed.size}


def _checkpoint_json(row: Checkpoint, model: TrainedModel | None) -> dict[str, Any]:
    return {
        "id": row.pk,
        "step": row.step,
        "is_best": row.is_best,
        "metrics": row.metrics,
        "model_name": queries.checkpoint_name(row),
        "trained_model": model.pk if model is not None else None,
        "created_at": row.created_at.isoformat(),
    }
