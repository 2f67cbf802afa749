"""``/v1/fine_tuning/jobs``."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, JsonResponse
from django.utils import timezone

from accounts_app.choices import Act
from accounts_app.models import ApiKey
from accounts_app.permissions import Actor
from accounts_app.views.access import key_view
from datasets_app.models import Dataset, Upload
from datasets_app.operations import create_dataset
from finetune_engine.errors import UserError
from jobs_app import queries
from jobs_app.models import TrainedModel, TrainingJob
from jobs_app.openai_api import format as shape
from jobs_app.openai_api.errors import openai_errors
from jobs_app.openai_api.request import CreateRequest, json_body, read_create, refuse
from jobs_app.operations import start_training
from work_kit.choices import State, StopAction
from work_kit.models import JobEvent
from work_kit.operations import request_stop, resume_job

REPEAT_WITHIN = timedelta(minutes=10)
TOLD_KINDS = ("state", "phase", "metric", "log", "warn", "checkpoint", "error")
SHOWN = ("project", "validation_dataset", "validation_snapshot", "parent_model")  # besides what every list shows
LIST_PARAMETERS = frozenset({"after", "limit", "metadata"})


@key_view({"GET": Act.VIEW, "POST": Act.TRAIN})
@openai_errors
def collection(request: HttpRequest, actor: Actor) -> JsonResponse:
    """List the project's jobs, or create one."""
    return _create(request, actor) if request.method == "POST" else _list(request, actor)


def _create(request: HttpRequest, actor: Actor) -> JsonResponse:
    asked = read_create(json_body(request.body))
    digest = _digest(request, actor)
    with transaction.atomic():
        # One create at a time for each key: a repeated POST cannot overtake the first one.
        if actor.api_key is not None:
            ApiKey.objects.select_for_update(no_key=True).get(pk=actor.api_key.pk)
        training = _repeated(request, actor, digest) or _start(request, actor, asked, digest)
    return JsonResponse(shape.job_object(_job(actor, training.openai_id)))


def _digest(request: HttpRequest, actor: Actor) -> str:
    key = actor.api_key.pk if actor.api_key is not None else ""
    return hashlib.sha256(f"{key}\0{request.path}\0".encode() + request.body).hexdigest()


def _repeated(request: HttpRequest, actor: Actor, digest: str) -> TrainingJob | None:
    """The job that the first sending of this very request made; the SDK says when it repeats one."""
    count = request.headers.get("x-stainless-retry-count", "0")
    if not count.isdecimal() or int(count) < 1:
        return None
    return (
        TrainingJob.objects.filter(
            project=actor.project, request_sha256=digest, created_at__gte=timezone.now() - REPEAT_WITHIN
        )
        .order_by("-id")
        .first()
    )


def _start(request: HttpRequest, actor: Actor, asked: CreateRequest, digest: str) -> TrainingJob:
    base, parent = _model(actor, asked.model)
    dataset = _dataset(actor, asked.training_file, "training_file")
    validation = _dataset(actor, asked.validation_file, "validation_file") if asked.validation_file else None
    return start_training(
        actor=actor,
        name=asked.suffix or dataset.name,
        base_model_key=base,
        dataset=dataset,
        validation_dataset=validation,
        parent_model=parent,
        spec=asked.spec(queries.automatic_learning_rate(base, asked.training.get("peft", "lora"))),
        suffix=asked.suffix,
        metadata=asked.metadata,
        idempotency_key=request.headers.get("Idempotency-Key"),
        openai_request=asked.kept(),
        request_sha256=digest,
        cost_approved=asked.cost_approved,
    )


def _model(actor: Actor, name: str) -> tuple[str, TrainedModel | None]:
    """The base model's key, and the trained model to go on from when the name is one of the project's."""
    parent = TrainedModel.objects.filter(project=actor.project, api_name=name).first()
    if parent is not None:
        return parent.base_model_key, parent
    if queries.find_checkpoint(name, actor.project) is not None:
        raise refuse(
            "model",
            f"{name!r} is a checkpoint. To go on from it, first choose 'Use this one' on the page of its training.",
            "model_is_checkpoint",
        )
    if queries.find_base_model(name) is None:
        raise refuse(
            "model",
            f"The model {name!r} does not exist or cannot be fine-tuned. Ask GET /v1/models for the models there are.",
            "model_not_found",
        )
    return name, None


def _dataset(actor: Actor, file_id: str, param: str) -> Dataset:
    """The dataset made from an uploaded file; made now when the file has none."""
    upload = Upload.objects.filter(
        project=actor.project, pk=file_id.removeprefix("file-"), deleted_at=None, purpose="fine-tune"
    ).first()
    if upload is None or not file_id.startswith("file-"):
        raise refuse(
            param,
            f"There is no file {file_id!r} with the purpose 'fine-tune' in this project. Upload it first.",
            "file_not_found",
        )
    dataset = upload.datasets.filter(deleted_at=None).order_by("id").first()
    return dataset or create_dataset(actor=actor, upload=upload, name=upload.name)


def _list(request: HttpRequest, actor: Actor) -> JsonResponse:
    rows = queries.training_jobs(actor.project).select_related(*SHOWN)
    for name in request.GET:
        value = str(request.GET[name])
        if name.startswith("metadata[") and name.endswith("]"):
            rows = rows.filter(metadata__contains={name[9:-1]: value}) if _has_contains() else _with(rows, name, value)
        elif name == "metadata" and value == "null":
            rows = rows.filter(metadata={})
        elif name not in LIST_PARAMETERS:
            raise refuse(name, f"Unknown parameter: {name!r}.", "unknown_parameter")
    if after := request.GET.get("after"):
        rows = rows.filter(pk__lt=after.removeprefix("ftjob-"))
    limit = _limit(request, 20)
    found = list(rows[: limit + 1])
    return JsonResponse(shape.page([shape.job_object(row) for row in found[:limit]], len(found) > limit))


def _has_contains() -> bool:
    from django.db import connection

    return bool(connection.features.supports_json_field_contains)


def _with(rows: QuerySet[TrainingJob], name: str, value: str) -> QuerySet[TrainingJob]:
    """SQLite cannot ask for a pair in JSON: look at the project's own metadata."""
    key = name[9:-1]
    pairs = rows.order_by().values_list("pk", "metadata")
    return rows.filter(pk__in=[pk for pk, metadata in pairs if metadata.get(key) == value])


@key_view({"GET": Act.VIEW})
@openai_errors
def one(request: HttpRequest, actor: Actor, job_id: str) -> JsonResponse:
    """One job."""
    return JsonResponse(shape.job_object(_job(actor, job_id)))


@key_view({"POST": Act.TRAIN})
@openai_errors
def cancel(request: HttpRequest, actor: Actor, job_id: str) -> JsonResponse:
    """Cancel and discard. Cancelling twice changes nothing."""
    training = _job(actor, job_id)
    if training.work.state != State.CANCELLED:
        request_stop(actor=actor, job=training.work, action=StopAction.CANCEL)
    return JsonResponse(shape.job_object(_job(actor, job_id)))


@key_view({"POST": Act.TRAIN})
@openai_errors
def pause(request: HttpRequest, actor: Actor, job_id: str) -> JsonResponse:
    """Save a checkpoint and stop until resumed."""
    training = _job(actor, job_id)
    if training.work.state != State.PAUSED:
        request_stop(actor=actor, job=training.work, action=StopAction.PAUSE)
    return JsonResponse(shape.job_object(_job(actor, job_id)))


@key_view({"POST": Act.TRAIN})
@openai_errors
def resume(request: HttpRequest, actor: Actor, job_id: str) -> JsonResponse:
    """Go on from the newest checkpoint."""
    resume_job(actor=actor, job=_job(actor, job_id).work)
    return JsonResponse(shape.job_object(_job(actor, job_id)))


@key_view({"GET": Act.VIEW})
@openai_errors
def events(request: HttpRequest, actor: Actor, job_id: str) -> JsonResponse:
    """What happened, the newest first."""
    training = _job(actor, job_id)
    rows = JobEvent.objects.filter(_not_repeated(training), job_id=training.work_id, kind__in=TOLD_KINDS)
    if after := request.GET.get("after"):
        number = after.removeprefix("ftevent-")
        if not number.isdecimal():
            raise refuse("after", f"{after!r} is not the id of an event.")
        rows = rows.filter(pk__lt=int(number))
    limit = _limit(request, 20)
    found = list(rows.order_by("-id")[: limit + 1])
    return JsonResponse(shape.page([shape.event_object(row, training) for row in found[:limit]], len(found) > limit))


def _not_repeated(training: TrainingJob) -> Q:
    """Metrics of each step once: of an interrupted attempt only the steps before the next one began."""
    wanted = Q()
    if training.work.attempt < 2:
        return wanted
    firsts: dict[int, int] = {}
    metrics = JobEvent.objects.filter(job_id=training.work_id, kind="metric").order_by("id")
    for attempt in metrics.order_by("attempt").values_list("attempt", flat=True).distinct():
        data: dict[str, Any] = metrics.filter(attempt=attempt).values_list("data", flat=True)[0]
        firsts[attempt] = int(data.get("step", 0))
    for attempt in firsts:
        later = [step for other, step in firsts.items() if other > attempt]
        if later:
            wanted &= ~Q(kind="metric", attempt=attempt, data__step__gte=min(later))
    return wanted


@key_view({"GET": Act.VIEW})
@openai_errors
def checkpoint_list(request: HttpRequest, actor: Actor, job_id: str) -> JsonResponse:
    """States of the training that can be used as models, the latest first."""
    training = _job(actor, job_id)
    rows = queries.usable_checkpoints(training)
    if after := request.GET.get("after"):
        ids = [f"ftckpt_{row.pk}" for row in rows]
        if after not in ids:
            raise refuse("after", f"{after!r} is not the id of a checkpoint of this job.")
        rows = rows[ids.index(after) + 1 :]
    limit = _limit(request, 10)
    shown = [shape.checkpoint_object(row) for row in rows[:limit]]
    return JsonResponse(shape.page_with_ends(shown, len(rows) > limit))


def _job(actor: Actor, job_id: str) -> TrainingJob:
    training = None
    if job_id.startswith("ftjob-"):
        rows = queries.training_jobs(actor.project).select_related(*SHOWN)
        training = rows.filter(pk=job_id.removeprefix("ftjob-")).first()
    if training is None:
        raise UserError(
            "fine_tuning_job_not_found", f"Could not find fine tune: {job_id}", field="fine_tuning_job_id", status=404
        )
    return training


def _limit(request: HttpRequest, default: int) -> int:
    text = request.GET.get("limit", str(default))
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise refuse("limit", "limit must be a whole number from 1 to 100.")
    return int(text)
