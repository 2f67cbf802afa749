"""Reads about deployments, replicas and predictions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Avg, Count, Q, QuerySet
from django.utils import timezone

from accounts_app.models import Project
from finetune_engine.errors import UserError
from jobs_app import queries as jobs
from jobs_app.models import Checkpoint, TrainedModel
from serving_app.choices import PRODUCTION, REPLICA_FRESH_SECONDS, DeploymentState
from serving_app.models import Deployment, Prediction, Replica
from work_kit.choices import State
from work_kit.models import Job

BASE_PREFIX = "base:"
TUNED_PREFIX = "ft:"
CHECKPOINT_PREFIX = "ckpt:"


@dataclass(frozen=True)
class ServedModel:
    """A model that may answer in a project. ``serving_id`` names it to the inference process without ambiguity
    (``base:<key>`` or ``ft:<id of the trained model>``), ``name`` to people; ``identity`` changes whenever the
    files behind it do, so that an answer in a cache is never another model's."""

    serving_id: str
    name: str
    identity: str
    deployment_id: str | None = None


def served_model(project: Project, requested: str) -> ServedModel:
    """The model a caller means: ``production`` (or nothing) is what is deployed, otherwise the name of a trained
    model of this project or the key of a base model. Raises UserError 404 for any other name."""
    if requested in ("", PRODUCTION):
        deployment = current_deployment(project)
        if deployment is None:
            raise UserError(
                "model_not_found",
                "No model is deployed in this project yet. Deploy one on the page Use, or name a model.",
                field="model",
                status=404,
            )
        if deployment.trained_model is not None:
            return _tuned(deployment.trained_model, deployment.pk)
        return _base(deployment.base_model_key, deployment.pk)
    trained = TrainedModel.objects.filter(project=project, api_name=requested).first()
    if trained is not None:
        return _tuned(trained, None)
    if (checkpoint := jobs.find_checkpoint(requested, project)) is not None:
        identity = f"{checkpoint.training_job.base_model_key}:{checkpoint.manifest_sha256}"
        return ServedModel(f"{CHECKPOINT_PREFIX}{checkpoint.pk}", requested, identity)
    return _base(requested, None)


def _tuned(trained: TrainedModel, deployment_id: str | None) -> ServedModel:
    identity = f"{trained.base_model_key}:{trained.manifest_sha256}"
    return ServedModel(f"{TUNED_PREFIX}{trained.pk}", trained.api_name, identity, deployment_id)


def _base(key: str, deployment_id: str | None) -> ServedModel:
    card = jobs.find_base_model(key)
    if card is None:
        raise UserError(
            "model_not_found",
            f"The model {key!r} does not exist in this project. GET /v1/models lists those that do.",
            field="model",
            status=404,
        )
    if not card.is_available:
        raise UserError(
            "model_unavailable",
            f"The model {key!r} cannot be asked here: {card.availability}.",
            field="model",
            status=404,
        )
    return ServedModel(f"{BASE_PREFIX}{key}", key, f"{BASE_PREFIX}{card.digest}", deployment_id)


def served_files(serving_id: str) -> jobs.ModelFilesRef:
    """The files behind a serving id. Raises UserError 404 for an
    unknown one. May copy files from storage to this machine."""
    if serving_id.startswith(BASE_PREFIX):
        key = serving_id.removeprefix(BASE_PREFIX)
        card = jobs.usable_base_model(key)
        return jobs.ModelFilesRef(card.ref().as_dict(), None, card.digest)
    kind, _, key = serving_id.partition(":")
    if f"{kind}:" == TUNED_PREFIX:
        trained = TrainedModel.objects.select_related("project").filter(pk=key).first()
        if trained is not None:
            return jobs.model_files(trained.api_name, trained.project)
    if f"{kind}:" == CHECKPOINT_PREFIX:
        checkpoint = Checkpoint.objects.select_related("training_job__project").filter(pk=key).first()
        if checkpoint is not None:
            name = jobs.checkpoint_name(checkpoint)
            return jobs.model_files(name, checkpoint.training_job.project)
    raise UserError("model_not_found", f"There is no model {serving_id!r}.", field="model", status=404)


def current_deployment(project: Project, alias: str = PRODUCTION) -> Deployment | None:
    """What answers for the alias now; None when nothing does (or its model was deleted)."""
    found = (
        Deployment.objects.select_related("trained_model", "previous", "created_by")
        .filter(project=project, alias=alias, state=DeploymentState.ACTIVE)
        .first()
    )
    if found is not None and found.trained_model is None and not found.base_model_key:
        return None
    return found


def deployments_of(project: Project) -> QuerySet[Deployment]:
    """All deployments, newest first."""
    return Deployment.objects.filter(project=project).select_related("trained_model", "created_by").order_by("-id")


def fresh_replicas() -> list[Replica]:
    """Processes whose heartbeat is fresh, oldest first."""
    since = timezone.now() - timedelta(seconds=REPLICA_FRESH_SECONDS)
    return list(Replica.objects.filter(heartbeat_at__gte=since).order_by("started_at", "id"))


@dataclass(frozen=True)
class Health:
    """Whether somebody can answer. ``sentence`` is for people."""

    replicas: int
    is_alive: bool
    is_loaded: bool
    sentence: str


def serving_health(serving_id: str | None) -> Health:
    """The state of the model servers, and whether this model is in the memory of one of them."""
    replicas = fresh_replicas()
    loaded = any(serving_id in replica.loaded for replica in replicas)
    if not replicas:
        return Health(
            0,
            False,
            False,
            "No model server is running, so questions are answered with “try again”. "
            "Start one with `python manage.py inference` (`python manage.py start` does it for you).",
        )
    if loaded:
        return Health(len(replicas), True, True, "The model is loaded and answers at once.")
    sentence = "The model server is running. The model is loaded with the first question."
    return Health(len(replicas), True, False, sentence)


@dataclass(frozen=True)
class Traffic:
    """The last 24 hours of a project. ``latency`` is the mean in seconds, ``confidence`` the mean of 0..1."""

    requests: int
    errors: int
    cached: int
    latency: float | None
    confidence: float | None
    good: int
    bad: int


def traffic_of(project: Project, since: datetime | None = None) -> Traffic:
    """Counts since a moment (24 hours ago when not given)."""
    row = Prediction.objects.filter(project=project, at__gte=since or timezone.now() - timedelta(days=1)).aggregate(
        requests=Count("id"),
        errors=Count("id", filter=Q(status__gte=400)),
        cached=Count("id", filter=Q(cached=True)),
        latency=Avg("latency_seconds", filter=Q(status=200)),
        confidence=Avg("confidence"),
        good=Count("id", filter=Q(verdict="good")),
        bad=Count("id", filter=Q(verdict="bad")),
    )
    return Traffic(**row)


def predictions_of(project: Project) -> QuerySet[Prediction]:
    """The log, newest first."""
    return Prediction.objects.filter(project=project).select_related("api_key", "user").order_by("-id")


def job_counts() -> dict[str, int]:
    """How many jobs of the house are in each state."""
    counts = dict.fromkeys(State.values, 0)
    for state, count in Job.objects.values_list("state").annotate(count=Count("id")):
        counts[state] = count
    return counts


def use_of_model(model: TrainedModel) -> str:
    """Where this trained model answers now, as a sentence with the way out; empty when nowhere."""
    active = Deployment.objects.filter(trained_model=model, state=DeploymentState.ACTIVE).first()
    if active is None:
        return ""
    return (
        f"This model is deployed as {active.alias!r}. Retire the deployment or put another model there, then delete it."
    )
