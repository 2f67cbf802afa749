"""What ``jobs.train`` does when a provider trains: hand the job out, mirror what the provider says, keep its model's name.

``CancelRemoteKind`` is the second kind: it tells a provider to stop a job that nobody here waits for any more.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings

from accounts_app.permissions import Actor
from datasets_app.models import Snapshot
from datasets_app.queries import snapshot_parquet
from finetune_engine.errors import EngineError, UserError
from finetune_engine.events import Event
from finetune_engine.train.provider.settings import KEY_VARIABLE
from jobs_app.models import Checkpoint, TrainedModel, TrainingJob
from jobs_app.operations import budgets, connections, remote_start
from jobs_app.queries.connections import remote_model
from jobs_app.queries.providers import is_openai_address, operators_key
from work_kit.choices import Queue, Reason, State
from work_kit.models import Job
from work_kit.operations import submit_job

CANCEL_KIND = "jobs.cancel_remote"
CUT_OFF = frozenset({Reason.WORKER_LOST, Reason.CRASH_LOOP, Reason.DEADLINE, Reason.INTERNAL})
ENDED_THERE = frozenset({"succeeded", "failed", "cancelled"})


def is_remote(job: Job) -> bool:
    """Whether a provider carries out this job."""
    return job.queue == Queue.REMOTE


def prepare(training: TrainingJob, snapshot: Snapshot, validation: Snapshot | None, workdir: Path) -> list[str]:
    """Write ``spec.json`` for a provider; the key is not in it. Raises UserError when the way to the provider is gone."""
    remote_start.settle_cost(training=training, snapshot=snapshot)
    model = remote_model(training.base_model_key)
    if model is None:
        sentence = f"The base model {training.base_model_key!r} is no longer offered by a provider here."
        raise UserError("model_unavailable", sentence, field="base_model", reason="model_unavailable")
    workdir.mkdir(parents=True, exist_ok=True)
    spec: dict[str, Any] = {
        "base_model": {"key": training.base_model_key, "hub": str(training.remote["model"])},
        "snapshot": {"path": str(snapshot_parquet(snapshot)), "sha256": snapshot.sha256},
        "training": training.spec,
        "task_type": snapshot.task_type,
        "provider": _provider(training)
        | {
            "suffix": training.suffix,
            "metadata": training.metadata,
            "hyperparameters": remote_start.hyperparameters(training, snapshot),
            "longest_tokens": model.context_length,
        },
    }
    if validation is not None:
        spec["validation"] = {"path": str(snapshot_parquet(validation)), "sha256": validation.sha256}
    path = workdir / "spec.json"
    path.write_text(json.dumps(spec, ensure_ascii=False, indent=1), encoding="utf-8")
    return ["train", str(path), "--out", str(workdir / "out")]


def _provider(training: TrainingJob) -> dict[str, Any]:
    """Where the training is, and what an earlier attempt knew of it."""
    return {
        "base_url": training.remote["base_url"],
        "model": str(training.remote["model"]),
        "job": training.pk,
        "state": training.remote.get("state") or {},
        "allowed_hosts": list(settings.OUTBOUND_ALLOWED_HOSTS),
        "poll_seconds": settings.PROVIDER_POLL_SECONDS,
    }


def secrets_of(training: TrainingJob) -> dict[str, str]:
    """The key for the child's environment. Raises UserError when the key was deleted, or belongs to another address now."""
    address = str(training.remote.get("base_url") or "")
    if training.connection is None:
        if not (is_openai_address(address) and operators_key()):
            raise _no_key()
        return {KEY_VARIABLE: operators_key()}
    if training.connection.base_url != address:
        raise _no_key()
    return {KEY_VARIABLE: connections.key_of(training.connection)}


def _no_key() -> UserError:
    return UserError(
        "no_connection",
        "The key for this training's provider is no longer there. An owner adds it on the page 'Providers and budget'.",
        reason="bad_config",
    )


def on_event(job: Job, event: Event) -> None:
    """Keep what the child knows of its job there, for the next attempt, and mirror checkpoints. In the event's transaction."""
    told = event.data.get("remote")
    if isinstance(told, dict):
        training = TrainingJob.objects.select_for_update().get(pk=job.pk)
        training.remote = training.remote | {"state": (training.remote.get("state") or {}) | told}
        training.save(update_fields=["remote"])
    if event.kind == "checkpoint":
        _note_checkpoint(job, event.data)


def _note_checkpoint(job: Job, data: dict[str, Any]) -> None:
    """A checkpoint that the provider keeps counts at once; it has a name there instead of files here."""
    metrics = dict(data.get("metrics") or {}) | {"remote_name": str(data.get("remote_model") or "")}
    Checkpoint.objects.update_or_create(
        training_job_id=job.pk,
        attempt=job.attempt,
        step=int(data["step"]),
        defaults={"metrics": metrics, "is_committed": True},
    )


def save(workdir: Path) -> dict[str, Any]:
    """What the child left: the record of the run and the provider's table of metrics. Raises EngineError without a model."""
    try:
        run = json.loads((workdir / "out" / "run.json").read_text(encoding="utf-8"))
        name = str(run["provider"]["fine_tuned_model"])
    except (OSError, ValueError, KeyError) as problem:
        raise EngineError("internal", "The training ended without the name of its model.") from problem
    return {"storage_prefix": "", "manifest_sha256": "", "size_bytes": 0, "run": run, "remote_name": name}


def commit(training: TrainingJob, model: TrainedModel, saved: dict[str, Any]) -> None:
    """Note where the model lives and what it has cost, in the job's last transaction."""
    model.remote_name, model.connection = saved["remote_name"], training.connection
    model.save(update_fields=["remote_name", "connection"])
    tokens = saved["run"]["provider"].get("trained_tokens")
    budgets.record_cost(training=training, trained_tokens=int(tokens) if tokens is not None else None)


def ended(job: Job, actor: Actor) -> None:
    """The job ended here without a model. What still runs there is told to stop, by a job that does not give up easily."""
    training = TrainingJob.objects.get(pk=job.pk)
    if _may_run_there(job, training.remote.get("state") or {}) and _can_be_told(training):
        title = f"Cancel at the provider: {job.title}"
        submit_job(
            actor=actor,
            kind=CANCEL_KIND,
            title=title,
            params={"training": job.pk},
            idempotency_key=f"cancel-{job.pk}-{job.attempt}",
            queue=Queue.REMOTE,
        )


def _may_run_there(job: Job, state: dict[str, Any]) -> bool:
    """Whether the provider may still work on the job. One that was asked for in the moment in which our process died is not
    known by its id; it is looked for then."""
    if state.get("job"):
        return state.get("status") not in ENDED_THERE
    return bool(state.get("files")) and (job.state == State.CANCELLED or job.failure_reason in CUT_OFF)


def _can_be_told(training: TrainingJob) -> bool:
    try:
        return bool(secrets_of(training))
    except UserError:
        return False


class CancelRemoteKind:
    """Tells a provider to stop a job."""

    name = CANCEL_KIND
    queue = str(Queue.REMOTE)

    def prepare(self, job: Job, workdir: Path) -> list[str]:
        """Write ``spec.json``."""
        training = _training_of(job)
        workdir.mkdir(parents=True, exist_ok=True)
        path = workdir / "spec.json"
        path.write_text(json.dumps({"provider": _provider(training)}), encoding="utf-8")
        return ["cancel-remote", str(path), "--out", str(workdir / "out")]

    def secrets(self, job: Job) -> dict[str, str]:
        """The provider's key."""
        return secrets_of(_training_of(job))

    def on_event(self, job: Job, event: Event, workdir: Path) -> None:
        """Keep the status that the provider answered."""
        told = event.data.get("remote")
        if isinstance(told, dict):
            training = TrainingJob.objects.select_for_update().get(pk=_training_of(job).pk)
            training.remote = training.remote | {"state": (training.remote.get("state") or {}) | told}
            training.save(update_fields=["remote"])

    def save(self, job: Job, workdir: Path) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def commit(self, job: Job, saved: dict[str, Any]) -> dict[str, Any]:
        """Nothing but the fact."""
        return {"training": str(job.params["training"])}

    def ended(self, job: Job) -> None:
        """A failure is shown with the job; nothing of ours depends on it."""


def _training_of(job: Job) -> TrainingJob:
    found = TrainingJob.objects.select_related("connection").filter(pk=str(job.params["training"])).first()
    if found is None:
        raise UserError("training_deleted", "The training that this belongs to was deleted.", reason="bad_config")
    return found
