"""What the kind of job ``jobs.train`` does: carry a snapshot and settings in, checkpoints and a model out."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

from django.db import transaction
from django.urls import reverse

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from datasets_app.choices import Purpose
from datasets_app.models import Upload
from datasets_app.operations import store_result_file
from datasets_app.queries import snapshot_parquet
from finetune_engine.errors import EngineError
from finetune_engine.events import Event
from finetune_engine.train.local.commit import verify_folder
from jobs_app import operations, queries, remote_runner, smaller
from jobs_app.choices import KIND
from jobs_app.models import Checkpoint, TrainedModel, TrainingJob
from jobs_app.operations import checkpoints
from jobs_app.readings import reading
from work_kit import kinds
from work_kit.choices import TERMINAL, Queue, State
from work_kit.files import local_copy, store_tree
from work_kit.models import Job
from work_kit.queries import metric_points

log = logging.getLogger(__name__)

MODEL_METRICS = ("best_step", "train_loss", "valid_loss", "trained_tokens", "trainable_parameters", "total_parameters")


class TrainKind:
    """Training one model."""

    name = KIND
    queue = str(Queue.GPU)
    announced = ("fine_tuning.job", "ftjob-")

    def prepare(self, job: Job, workdir: Path) -> list[str]:
        """Write ``spec.json``. Raises NotYet while the data is still being imported or frozen."""
        training = TrainingJob.objects.select_related("project", "snapshot", "dataset", "work", "parent_model").get(
            pk=job.pk
        )
        snapshot = operations.freeze_data(training=training, actor=actor_of(job))
        validation = operations.freeze_validation(training=training, actor=actor_of(job))
        if remote_runner.is_remote(job):
            return remote_runner.prepare(training, snapshot, validation, workdir)
        operations.settle_passes(training=training, snapshot=snapshot)
        parquet = snapshot_parquet(snapshot)
        workdir.mkdir(parents=True, exist_ok=True)
        resume_from = checkpoints.newest_usable(training, workdir)
        spec = {
            "base_model": queries.base_model_ref(training.base_model_key),
            "snapshot": {"path": str(parquet), "sha256": snapshot.sha256},
            "training": smaller.in_pieces(training.spec, int(job.params.get("made_smaller") or 0)),
            "resume_from": str(resume_from) if resume_from else None,
            "task_type": snapshot.task_type,
        }
        if validation is not None:
            spec["validation"] = {"path": str(snapshot_parquet(validation)), "sha256": validation.sha256}
        if training.parent_model is not None:
            spec["continue_from"] = str(local_copy(training.parent_model.storage_prefix))
        path = workdir / "spec.json"
        path.write_text(json.dumps(spec, ensure_ascii=False, indent=1), encoding="utf-8")
        return ["train", str(path), "--out", str(workdir / "out")]

    def secrets(self, job: Job) -> dict[str, str]:
        """The key of the provider that carries the job out."""
        if not remote_runner.is_remote(job):
            return {}
        return remote_runner.secrets_of(TrainingJob.objects.select_related("connection").get(pk=job.pk))

    def on_event(self, job: Job, event: Event, workdir: Path) -> None:
        """A checkpoint becomes a row, uncommitted until its files are in storage."""
        if remote_runner.is_remote(job):
            remote_runner.on_event(job, event)
        elif event.kind == "checkpoint":
            checkpoints.note(job, event.data)

    def after_event(self, job: Job, event: Event, workdir: Path) -> None:
        """Copy a checkpoint's files to storage, then commit its row. Outside any transaction."""
        if event.kind == "checkpoint" and not remote_runner.is_remote(job):
            checkpoints.commit(job, event.data, workdir)

    def page_url(self, job: Job) -> str:
        """The training's page."""
        return reverse("jobs:detail", args=[job.project.slug, job.pk])

    def reading(self, job: Job) -> str:
        """What the chart says at this moment, for the live page."""
        return reading(metric_points(job.pk), is_over=job.state in TERMINAL)

    def save(self, job: Job, workdir: Path) -> dict[str, Any]:
        """Verify the artefact and copy it to storage, with its metrics as a file of the project."""
        if remote_runner.is_remote(job):
            table = workdir / "out" / "metrics.csv"
            upload = _store_results(job, table)
            told = {"last_metrics": last_metrics(table), "results_upload_id": upload.pk if upload else ""}
            return remote_runner.save(workdir) | told
        artefact = workdir / "out" / "artefact"
        digest = verify_folder(artefact)
        if digest is None:
            raise EngineError("internal", "The training ended without a complete model.", {"artefact": str(artefact)})
        prefix = f"projects/{job.project_id}/models/{job.pk}-{job.attempt}"
        checkpoints.discard([prefix])  # this attempt may have begun to store it and lost the storage or the database
        store_tree(artefact, prefix)
        run = json.loads((artefact / "run.json").read_text(encoding="utf-8"))
        upload = _store_results(job, artefact / "metrics.csv")
        return {
            "storage_prefix": prefix,
            "manifest_sha256": digest,
            "size_bytes": sum(path.stat().st_size for path in artefact.rglob("*") if path.is_file()),
            "run": run,
            "last_metrics": last_metrics(artefact / "metrics.csv"),
            "results_upload_id": upload.pk if upload else "",
        }

    def commit(self, job: Job, saved: dict[str, Any]) -> dict[str, Any]:
        """Create the one trained model of this job."""
        training = TrainingJob.objects.select_related("project").get(pk=job.pk)
        told = _result_event(job)
        model = TrainedModel.objects.create(
            project_id=job.project_id,
            training_job=training,
            name=training.name,
            base_model_key=training.base_model_key,
            api_name=queries.api_name(training),
            storage_prefix=saved["storage_prefix"],
            manifest_sha256=saved["manifest_sha256"],
            size_bytes=saved["size_bytes"],
            metrics=saved["last_metrics"] | {key: told[key] for key in MODEL_METRICS if told.get(key) is not None},
            run=saved["run"],
            results_upload_id=saved["results_upload_id"],
        )
        if remote_runner.is_remote(job):
            remote_runner.commit(training, model, saved)
        return {"trained_model": model.pk, "api_name": model.api_name} | told

    def make_smaller(self, job: Job, times: int) -> str:
        """After memory ran out: half the batch and twice the accumulation."""
        return smaller.explain(TrainingJob.objects.get(pk=job.pk).spec, times)

    def discard(self, job: Job, saved: dict[str, Any]) -> None:
        """The job was cancelled while its model was being stored."""
        checkpoints.discard([saved["storage_prefix"]])

    def tidy(self, job: Job) -> None:
        """Nothing without a row stays in the storage."""
        checkpoints.sweep_storage(job)

    def ended(self, job: Job) -> None:
        """A cancelled job's checkpoints are discarded with it; a failed one's stay for the next try."""
        if remote_runner.is_remote(job):
            remote_runner.ended(job, actor_of(job))
        if job.state == State.CANCELLED:
            prefixes = list(
                Checkpoint.objects.filter(training_job_id=job.pk, is_committed=True).values_list(
                    "storage_prefix", flat=True
                )
            )
            Checkpoint.objects.filter(training_job_id=job.pk).delete()
            transaction.on_commit(lambda: checkpoints.discard(prefixes), robust=True)


def actor_of(job: Job) -> Actor:
    """Whoever submitted the job, acting with a trainer's rights while it runs."""
    return Actor(
        project=job.project,
        acts=frozenset({Act.VIEW, Act.REVIEW, Act.TRAIN}),
        user=job.created_by,
        api_key=job.created_by_key,
    )


def last_metrics(path: Path) -> dict[str, float]:
    """The last finite value of each column of ``metrics.csv``."""
    out: dict[str, float] = {}
    if not path.is_file():
        return out
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for key, text in row.items():
                try:
                    value = float(text or "")
                except ValueError:
                    continue
                if value == value and abs(value) != float("inf"):
                    out[key] = value
    return out


def _store_results(job: Job, path: Path) -> Upload | None:
    """The metrics as a file to download; the same one again when this step is repeated."""
    if not path.is_file():
        return None
    name = f"step_metrics_{job.pk}.csv"
    known: Upload | None = Upload.objects.filter(project_id=job.project_id, name=name, purpose=Purpose.RESULTS).first()
    return known or store_result_file(project=job.project, name=name, content=path.read_bytes())


def _result_event(job: Job) -> dict[str, Any]:
    event = job.events.filter(kind="result", attempt=job.attempt).order_by("-id").first()
    return dict(event.data) if event is not None else {}


def register() -> None:
    """Make this app's kinds of job known to the job engine."""
    kinds.register(TrainKind())
    kinds.register(remote_runner.CancelRemoteKind())
