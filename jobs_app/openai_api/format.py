"""Our rows as the objects of OpenAI's fine-tuning API, field by field as its SDK types them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from jobs_app import queries
from jobs_app.choices import OPENAI_STATUS
from jobs_app.models import Checkpoint, TrainedModel, TrainingJob
from jobs_app.training_settings import DEFAULTS
from work_kit.choices import PHASES, State
from work_kit.models import JobEvent

LEVELS = {"warning": "warn", "warn": "warn", "error": "error", "critical": "error"}
METRIC_NAMES = {"train_accuracy": "train_mean_token_accuracy"}
VALIDATED = ("valid_loss", "valid_mean_token_accuracy")
METHODS = {"sft": "supervised", "dpo": "dpo"}


def unix(moment: datetime | None) -> int | None:
    """Whole Unix seconds."""
    return int(moment.timestamp()) if moment is not None else None


def job_object(training: TrainingJob) -> dict[str, Any]:
    """``fine_tuning.job``."""
    work = training.work
    model = queries.trained_model_of(training)
    running = work.state in {State.RUNNING, State.SAVING} and work.eta_seconds is not None
    return {
        "id": training.openai_id,
        "object": "fine_tuning.job",
        "created_at": unix(training.created_at),
        "error": _error(training),
        "estimated_finish": int(timezone.now().timestamp() + (work.eta_seconds or 0)) if running else None,
        "fine_tuned_model": model.api_name if model is not None else None,
        "finished_at": unix(work.finished_at),
        "hyperparameters": hyperparameters(training),
        "integrations": [],
        "metadata": training.metadata,
        "method": method(training),
        "model": training.parent_model.api_name if training.parent_model is not None else training.base_model_key,
        "organization_id": training.project.slug,
        "result_files": [f"file-{model.results_upload_id}"] if model is not None and model.results_upload_id else [],
        "seed": int(training.spec.get("seed", DEFAULTS.seed)),
        "status": status(training),
        "trained_tokens": model.metrics.get("trained_tokens") if model is not None else None,
        "training_file": training_file(training),
        "user_provided_suffix": training.suffix or None,
        "validation_file": validation_file(training),
    }


def status(training: TrainingJob) -> str:
    """OpenAI's word for the job's state. A job that waits for its data is ``validating_files``."""
    state = training.work.state
    if state == State.QUEUED and _waits_for_data(training):
        return "validating_files"
    return OPENAI_STATUS[state]


def _waits_for_data(training: TrainingJob) -> bool:
    if training.snapshot is None or training.snapshot.state == "processing":
        return True
    checked, frozen = training.validation_dataset, training.validation_snapshot
    if frozen is not None:
        return frozen.state == "processing"
    return checked is not None and checked.state == "processing"


def training_file(training: TrainingJob) -> str:
    """The file the job learns from: as asked for, else the upload behind its dataset."""
    asked = training.openai_request.get("training_file")
    if asked:
        return str(asked)
    return f"file-{training.dataset.upload_id}" if training.dataset is not None else ""


def validation_file(training: TrainingJob) -> str | None:
    """The file that the job is checked with; None when a part of the training file is kept back for it."""
    asked = training.openai_request.get("validation_file")
    if asked:
        return str(asked)
    return f"file-{training.validation_dataset.upload_id}" if training.validation_dataset is not None else None


def method(training: TrainingJob) -> dict[str, Any] | None:
    """The method in OpenAI's words; None for one that OpenAI has no word for (KTO)."""
    numbers = hyperparameters(training)
    kind = METHODS.get(str(training.spec.get("method", DEFAULTS.method)))
    if kind is None:
        return None
    if kind == "dpo":
        told = (training.remote.get("hyperparameters") or {}).get("beta") or "auto"
        numbers |= {"beta": told if training.remote else training.spec.get("beta", DEFAULTS.beta)}
    return {"type": kind, kind: {"hyperparameters": numbers}}


def hyperparameters(training: TrainingJob) -> dict[str, Any]:
    """The three numbers of OpenAI. ``auto`` stays only where nothing is known yet (passes, before the rows are)."""
    spec = training.spec
    asked = training.openai_request
    if training.remote:  # a provider decides what it is not told
        told = training.remote.get("hyperparameters") or {}
        return {name: told.get(name) or "auto" for name in ("n_epochs", "batch_size", "learning_rate_multiplier")}
    batch = spec.get("per_device_train_batch_size", DEFAULTS.per_device_train_batch_size) * spec.get(
        "gradient_accumulation_steps", DEFAULTS.gradient_accumulation_steps
    )
    passes: Any = spec.get("num_train_epochs")
    if passes is None:
        passes = "auto" if asked else DEFAULTS.num_train_epochs  # settled when the rows are frozen
    multiplier = asked.get("learning_rate_multiplier", "auto")
    if multiplier == "auto":
        automatic = queries.automatic_learning_rate(training.base_model_key, spec.get("peft", DEFAULTS.peft))
        chosen = spec.get("learning_rate", "auto")
        multiplier = 1.0 if chosen == "auto" else round(float(chosen) / automatic, 6)
    return {
        "n_epochs": passes if passes == "auto" else max(1, round(passes)),
        "batch_size": batch,
        "learning_rate_multiplier": multiplier,
    }


def _error(training: TrainingJob) -> dict[str, Any] | None:
    work = training.work
    if work.state != State.FAILED:
        return None
    failure = work.failure
    param = failure.get("field") or ("training_file" if work.failure_reason == "bad_data" else None)
    return {
        "code": str(failure.get("code") or work.failure_reason),
        "message": str(failure.get("message") or work.get_failure_reason_display()),
        "param": param,
    }


def event_object(event: JobEvent, training: TrainingJob) -> dict[str, Any]:
    """``fine_tuning.job.event``."""
    level, kind, message, data = _told(event, training)
    return {
        "id": f"ftevent-{event.pk}",
        "object": "fine_tuning.job.event",
        "created_at": unix(event.at),
        "level": level,
        "message": message,
        "type": kind,
        "data": data,
    }


def _told(event: JobEvent, training: TrainingJob) -> tuple[str, str, str, dict[str, Any] | None]:
    data = event.data
    if event.kind == "metric":
        return _metric_told(data, training)
    if event.kind == "state":
        return _state_told(data, training)
    if event.kind == "phase":
        phase = str(data.get("phase", ""))
        return "info", "message", str(PHASES.get(phase, phase.capitalize())), None
    if event.kind == "checkpoint":
        return "info", "message", f"Checkpoint created at step {data.get('step')}", {"step": data.get("step")}
    level = LEVELS.get(str(data.get("level", "")), "info")
    if event.kind in {"warn", "error"}:
        level = event.kind
    rest = {key: value for key, value in data.items() if key not in {"level", "message"}}
    return level, "message", str(data.get("message", "")), rest or None


def _metric_told(data: dict[str, Any], training: TrainingJob) -> tuple[str, str, str, dict[str, Any] | None]:
    step, total = data.get("step"), training.work.progress_total
    words = [f"training loss={_number(data['train_loss'])}"] if data.get("train_loss") is not None else []
    if data.get("valid_loss") is not None:
        words.append(f"validation loss={_number(data['valid_loss'])}")
    message = f"Step {step}/{total}: {', '.join(words)}" if total else f"Step {step}: {', '.join(words)}"
    named = {METRIC_NAMES.get(key, key): value for key, value in data.items()}
    # We always validate on all validation rows, so the full figures are the same ones.
    named |= {f"full_{key}": named[key] for key in VALIDATED if named.get(key) is not None}
    return "info", "metrics", message, named | ({"total_steps": total} if total else {})


def _state_told(data: dict[str, Any], training: TrainingJob) -> tuple[str, str, str, dict[str, Any] | None]:
    state = str(data.get("state", ""))
    messages = {
        State.QUEUED: f"Fine-tuning job {training.openai_id} is waiting in the queue",
        State.PREPARING: "Validating the training file",
        State.RUNNING: "Fine-tuning job started",
        State.SAVING: "Saving the fine-tuned model",
        State.STOPPING: "Fine-tuning job is stopping",
        State.PAUSED: "Fine-tuning job paused",
        State.SUCCEEDED: "The job has successfully completed",
        State.CANCELLED: "The job was cancelled",
    }
    if state == State.FAILED:
        return "error", "message", f"The job failed: {data.get('message') or data.get('reason')}", None
    return "info", "message", messages.get(State(state), state), None


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else str(value)


def checkpoint_object(checkpoint: Checkpoint) -> dict[str, Any]:
    """``fine_tuning.job.checkpoint``. We always validate on the whole validation split."""
    metrics = {
        METRIC_NAMES.get(key, key): value
        for key, value in checkpoint.metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    named = {
        "step": checkpoint.step,
        "train_loss": metrics.get("train_loss"),
        "train_mean_token_accuracy": metrics.get("train_mean_token_accuracy"),
        "valid_loss": metrics.get("valid_loss"),
        "valid_mean_token_accuracy": metrics.get("valid_mean_token_accuracy"),
        "full_valid_loss": metrics.get("valid_loss"),
        "full_valid_mean_token_accuracy": metrics.get("valid_mean_token_accuracy"),
    }
    return {
        "id": f"ftckpt_{checkpoint.pk}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": unix(checkpoint.created_at),
        "fine_tuned_model_checkpoint": queries.checkpoint_name(checkpoint),
        "fine_tuning_job_id": checkpoint.training_job.openai_id,
        "metrics": named,
        "step_number": checkpoint.step,
    }


def base_model_object(card: queries.BaseModelCard) -> dict[str, Any]:
    """``model`` of a base model."""
    return {"id": card.key, "object": "model", "created": 0, "owned_by": str(card.provider)}


def trained_model_object(model: TrainedModel) -> dict[str, Any]:
    """``model`` of a trained model."""
    return {
        "id": model.api_name,
        "object": "model",
        "created": unix(model.created_at),
        "owned_by": model.api_name.split(":")[2],
    }


def page(rows: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    """A list as OpenAI's cursor pages have it; a client goes on with the last row's id as ``after``."""
    return {"object": "list", "data": rows, "has_more": has_more}


def page_with_ends(rows: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    """The same with the ids of its first and last row, as OpenAI lists checkpoints."""
    ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]} if rows else {"first_id": None, "last_id": None}
    return page(rows, has_more) | ends
