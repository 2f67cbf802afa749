"""Reads about training jobs and the models that came out of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from django.db.models import QuerySet

from accounts_app.models import Project
from finetune_engine.errors import UserError
from jobs_app.choices import STOPS
from jobs_app.models import Checkpoint, TrainedModel, TrainingJob
from jobs_app.queries.base_models import base_model_names, base_model_ref, find_base_model
from work_kit.choices import StopAction
from work_kit.files import local_copy
from work_kit.queries import JobCard, job_card

ROW_COUNTS = ("accepted", "flagged", "needs_review", "rejected")


@dataclass(frozen=True)
class TrainingCard:
    """A line of the list of trainings."""

    id: str
    name: str
    base_model_name: str
    data_name: str
    job: JobCard
    trained_model_id: str | None
    valid_loss: float | None
    created_at: datetime
    created_by: str


@dataclass(frozen=True)
class StopButtons:
    """Which of the stop buttons a job's page offers now."""

    cancel: bool
    pause: bool
    stop_and_keep: bool
    resume: bool

    def __bool__(self) -> bool:
        return self.cancel or self.pause or self.stop_and_keep or self.resume


class ModelFilesRef(NamedTuple):
    """What serving needs: the engine's base-model reference, the adapter's folder (None: the base alone), and a
    digest that changes when either does."""

    base: dict[str, Any]
    adapter: Path | None
    digest: str


def training_jobs(project: Project) -> QuerySet[TrainingJob]:
    """The project's trainings, newest first, with what a list shows."""
    return (
        TrainingJob.objects.filter(project=project)
        .select_related("work", "dataset", "snapshot", "snapshot__dataset", "created_by", "cloned_from", "parent_model")
        .prefetch_related("trained_models")
        .order_by("-id")
    )


def training_card(training: TrainingJob, names: dict[str, str] | None = None) -> TrainingCard:
    """One training as a list shows it. ``names`` maps base-model keys to names, to look them up once."""
    model = trained_model_of(training)
    metrics = model.metrics if model is not None else {}
    return TrainingCard(
        id=training.pk,
        name=training.name,
        base_model_name=(names or base_model_names()).get(training.base_model_key, training.base_model_key),
        data_name=data_name(training),
        job=job_card(training.work),
        trained_model_id=model.pk if model is not None else None,
        valid_loss=metrics.get("valid_loss"),
        created_at=training.created_at,
        created_by=str(training.created_by) if training.created_by else "API",
    )


def training_cards(project: Project) -> list[TrainingCard]:
    """All trainings of the project, newest first."""
    names = base_model_names()
    return [training_card(training, names) for training in training_jobs(project)]


def data_name(training: TrainingJob) -> str:
    """``Contract clauses, snapshot 2``; the dataset's name alone while nothing is frozen yet."""
    if training.snapshot is not None:
        return f"{training.snapshot.dataset.name}, snapshot {training.snapshot.number}"
    return training.dataset.name if training.dataset is not None else "deleted data"


def stop_buttons(training: TrainingJob) -> StopButtons:
    """What can be asked of the job in its state."""
    state = training.work.state
    kept = state == "paused" and training.checkpoints.filter(is_committed=True).exists()
    return StopButtons(
        cancel=state in STOPS[StopAction.CANCEL],
        pause=state in STOPS[StopAction.PAUSE],
        stop_and_keep=state in STOPS[StopAction.STOP_AND_KEEP] or kept,
        resume=state == "paused",
    )


def trained_model_of(training: TrainingJob) -> TrainedModel | None:
    """The model this job made, or None. Models made of its checkpoints are others."""
    return next((model for model in training.trained_models.all() if model.checkpoint_step is None), None)


def trained_models(project: Project) -> QuerySet[TrainedModel]:
    """The project's trained models, newest first."""
    return (
        TrainedModel.objects.filter(project=project)
        .select_related("training_job__work", "training_job__dataset", "training_job__snapshot__dataset")
        .order_by("-id")
    )


def models_with_files(project: Project) -> QuerySet[TrainedModel]:
    """Those whose files are here, so that they can be downloaded and gone on from; newest first."""
    return trained_models(project).filter(remote_name="")


def models_by_snapshot(project: Project, snapshot_ids: Collection[str]) -> dict[str, list[TrainedModel]]:
    """The project's models that were trained on each of these snapshots, newest first. One query."""
    found: dict[str, list[TrainedModel]] = {snapshot_id: [] for snapshot_id in snapshot_ids}
    for model in trained_models(project).filter(training_job__snapshot__in=snapshot_ids):
        found[str(model.training_job.snapshot_id)].append(model)
    return found


def usable_checkpoints(training: TrainingJob) -> list[Checkpoint]:
    """Committed checkpoints, the latest step first; of a step that was reached twice, the newest."""
    by_step: dict[int, Checkpoint] = {}
    for row in training.checkpoints.filter(is_committed=True).order_by("attempt"):
        by_step[row.step] = row
    return [by_step[step] for step in sorted(by_step, reverse=True)]


@dataclass(frozen=True)
class SavedState:
    """A checkpoint as the page shows it, with the model that was made of it, if any."""

    row: Checkpoint
    model: TrainedModel | None


def saved_states(training: TrainingJob) -> list[SavedState]:
    """The usable checkpoints, the latest step first."""
    models = models_by_step(training)
    return [SavedState(row, models.get(row.step)) for row in usable_checkpoints(training)]


@dataclass(frozen=True)
class Lineage:
    """Where a training comes from and what came of it: the training whose settings it copied, the model it went on from,
    the trainings that copied it."""

    copied_from: TrainingJob | None
    goes_on_from: TrainedModel | None
    copies: list[TrainingJob]

    def __bool__(self) -> bool:
        return bool(self.copied_from or self.goes_on_from or self.copies)


def lineage(training: TrainingJob) -> Lineage:
    """The training's relatives, newest copies first."""
    return Lineage(training.cloned_from, training.parent_model, list(training.clones.order_by("-id")[:10]))


def models_by_step(training: TrainingJob) -> dict[int, TrainedModel]:
    """The models that were made of this training's checkpoints, by step."""
    return {
        model.checkpoint_step: model for model in training.trained_models.all() if model.checkpoint_step is not None
    }


def api_name(training: TrainingJob) -> str:
    """``ft:{base}:{project}:{suffix}:{id}``."""
    return f"ft:{training.base_model_key}:{training.project.slug}:{training.suffix}:{training.pk}"


def checkpoint_name(checkpoint: Checkpoint) -> str:
    """The name under which a checkpoint can be asked: the model's name and ``ckpt-step-N``."""
    return f"{api_name(checkpoint.training_job)}:ckpt-step-{checkpoint.step}"


def model_files(model_name: str, project: Project) -> ModelFilesRef:
    """Where the files of a model are: a base model's key, a trained model's API name or id, or a checkpoint's name.

    Raises UserError ``model_not_found`` (404) when the project has no such model, and ``model_at_provider`` for one that its
    provider keeps.
    """
    model = TrainedModel.objects.filter(project=project, api_name=model_name).first()
    if model is None:
        model = TrainedModel.objects.filter(project=project, pk=model_name).first()
    if model is not None:
        refuse_without_files(model.remote_name)
        base = base_model_ref(model.base_model_key)
        return ModelFilesRef(base, local_copy(model.storage_prefix), model.manifest_sha256)
    if (checkpoint := find_checkpoint(model_name, project)) is not None:
        refuse_without_files(str(checkpoint.metrics.get("remote_name") or ""))
        base = base_model_ref(checkpoint.training_job.base_model_key)
        return ModelFilesRef(base, local_copy(checkpoint.storage_prefix), checkpoint.manifest_sha256)
    card = find_base_model(model_name)
    if card is None or model_name.startswith("ft:"):
        raise UserError(
            "model_not_found",
            f"This project has no model {model_name!r}. Ask GET /v1/models for those it has.",
            field="model",
            status=404,
        )
    return ModelFilesRef(base_model_ref(model_name), None, card.digest)


def refuse_without_files(remote_name: str) -> None:
    """Raises UserError (409) for a model whose provider keeps it under this name; "" for a model that lies here."""
    if remote_name:
        raise UserError(
            "model_at_provider",
            f"This model lives at its provider under the name {remote_name!r}; it has no files here. It can be "
            "evaluated and put into use here, but not downloaded.",
            field="model",
            reason="model_unavailable",
            status=409,
        )


def find_checkpoint(name: str, project: Project) -> Checkpoint | None:
    """The newest committed checkpoint with this API name (``...:ckpt-step-N``), or None."""
    head, _, step = name.rpartition(":ckpt-step-")
    if not head or not step.isdecimal():
        return None
    return (
        Checkpoint.objects.filter(
            training_job_id=head.rsplit(":", 1)[-1],
            training_job__project=project,
            step=int(step),
            is_committed=True,
        )
        .select_related("training_job", "training_job__project")
        .order_by("-attempt")
        .first()
    )
