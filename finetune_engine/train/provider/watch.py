"""Follows our job at the provider to its end: events, metrics and checkpoints become ours, and stop requests theirs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import openai
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from finetune_engine.errors import EngineError, FailureReason, UserError
from finetune_engine.ports import Run, Stopped
from finetune_engine.train.provider.client import FILE_PARAMETERS, Line, explained, may_pass
from finetune_engine.train.provider.ledger import Ledger
from finetune_engine.train.provider.settings import ProviderSettings

ENDED = frozenset({"succeeded", "failed", "cancelled"})
PHASES = {"validating_files": "validating", "queued": "waiting at the provider", "running": "training"}
METRICS = {
    "train_loss": "train_loss",
    "train_mean_token_accuracy": "train_accuracy",
    "train_accuracy": "train_accuracy",
    "valid_loss": "valid_loss",
    "full_valid_loss": "valid_loss",  # over the whole validation file: better than one batch of it
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
    "full_valid_mean_token_accuracy": "valid_mean_token_accuracy",
    "rewards_margin": "rewards_margin",
    "rewards_accuracy": "rewards_accuracy",
}
CANCEL_TRIES = 5


@dataclass(frozen=True)
class Ending:
    """How a job ended that left a model. ``checkpoint`` is the step of the one that was kept; None: the whole job."""

    job: FineTuningJob
    model: str
    checkpoint: int | None = None


class Watch:
    """One job at the provider, seen from here."""

    def __init__(self, run: Run, client: openai.OpenAI, line: Line, settings: ProviderSettings, ledger: Ledger) -> None:
        self.run = run
        self.client = client
        self.jobs = client.fine_tuning.jobs
        self.line = line
        self.settings = settings
        self.ledger = ledger
        self.numbers: dict[str, float] = {}
        self._status = ""

    def follow(self, job: FineTuningJob) -> Ending:
        """Look again and again until the job has ended. Raises UserError, EngineError or Stopped."""
        if job.status == "paused" and self.ledger.state.get("paused_here"):  # type: ignore[comparison-overlap]
            job = self._resume(job)
        while True:
            self._mirror(job)
            if job.status in ENDED:
                return self._ended(job)
            action = self.line.wait(self.settings.poll_seconds * random.uniform(0.9, 1.1))
            if action != "go":
                return self._obey(action, job)
            job = self._look(job.id)

    def _look(self, job_id: str) -> FineTuningJob:
        """The job as it is now. A running job is paid for: however long the provider is silent, we go on asking."""
        return self.line.call(lambda: self.jobs.retrieve(job_id), for_ever=True)

    # --- what they say ---------------------------------------------------------------------------------------------

    def _mirror(self, job: FineTuningJob) -> None:
        if job.status != self._status:
            self._status = job.status
            if phase := PHASES.get(job.status):
                self.run.emit("phase", phase=phase)
            if job.status == "paused":  # type: ignore[comparison-overlap]
                message = "The job is paused at the provider; it was not paused from here."
                self.run.emit("warn", level="warn", message=message)
            self.ledger.note(f"At the provider: {job.status.replace('_', ' ')}.", status=job.status)
        for event in self._new_events(job.id):
            self._tell(event, job)
        for checkpoint in self._new_checkpoints(job.id):
            self._tell_checkpoint(checkpoint)

    def _new_events(self, job_id: str) -> list[FineTuningJobEvent]:
        """Events since the last look, the oldest first."""
        known = self.ledger.state.get("event")

        def ask() -> list[FineTuningJobEvent]:
            found = []
            for event in self.jobs.list_events(job_id, limit=100):  # the newest first
                if event.id == known:
                    break
                found.append(event)
            return found[::-1]

        return self.line.call(ask, for_ever=True)

    def _tell(self, event: FineTuningJobEvent, job: FineTuningJob) -> None:
        self.ledger.keep(event=event.id)
        seen = {"event": event.id}
        data = event.data if isinstance(event.data, dict) else {}
        step = data.get("step")
        if event.type == "metrics" and isinstance(step, int | float):
            numbers = named(data)
            self.numbers |= numbers
            self.run.emit("metric", step=int(step), **numbers, remote=seen)
            self._progress(int(step), data.get("total_steps"), job)
            return
        level = event.level if event.level in {"info", "warn", "error"} else "info"
        kind = "warn" if level == "warn" else "log"
        self.run.emit(kind, level=level, message=event.message, source="provider", remote=seen)

    def _progress(self, step: int, total: Any, job: FineTuningJob) -> None:
        left = max(0.0, job.estimated_finish - self.run.clock.now()) if job.estimated_finish else None
        steps = int(total) if isinstance(total, int | float) and total else None
        self.run.emit("progress", done=step, total=steps, unit="steps", eta_seconds=left)

    def _checkpoints(self, job_id: str) -> list[FineTuningJobCheckpoint]:
        return self.line.call(lambda: list(self.jobs.checkpoints.list(job_id, limit=100)), for_ever=True)

    def _new_checkpoints(self, job_id: str) -> list[FineTuningJobCheckpoint]:
        known = set(self.ledger.state.get("checkpoints") or [])
        found = [one for one in self._checkpoints(job_id) if one.step_number not in known]
        return sorted(found, key=lambda one: one.step_number)

    def _tell_checkpoint(self, checkpoint: FineTuningJobCheckpoint) -> None:
        steps = [*(self.ledger.state.get("checkpoints") or []), checkpoint.step_number]
        self.ledger.keep(checkpoints=steps)
        metrics = named(checkpoint.metrics.to_dict())
        self.run.emit(
            "checkpoint",
            step=checkpoint.step_number,
            metrics=metrics,
            remote_model=checkpoint.fine_tuned_model_checkpoint,
            remote={"checkpoints": steps},
        )

    # --- what people ask --------------------------------------------------------------------------------------------

    def _obey(self, action: str, job: FineTuningJob) -> Ending:
        if action == "stop_and_keep":
            return self._stop_and_keep(job)
        if not getattr(self.run.stop, "is_leaving", False):  # when only this worker leaves, the job goes on there
            if action == "cancel":
                self.cancel(job.id)
            else:
                self._pause(job)
        raise Stopped("cancel" if action == "cancel" else "pause")

    def cancel(self, job_id: str) -> None:
        """Cancel it there; a job that has ended meanwhile is fine. What fails is told: it may go on costing money."""
        for failures in range(1, CANCEL_TRIES + 1):
            try:
                job = self.jobs.cancel(job_id)
                self.ledger.note("The job was cancelled at the provider.", status=job.status)
                return
            except openai.OpenAIError as error:
                if not may_pass(error):
                    self._not_cancelled(job_id, error)
                    return
                self.run.sleep(self.settings.first_pause_seconds * failures)
        raise EngineError("provider_error", f"The provider could not be asked to cancel {job_id}.")

    def _not_cancelled(self, job_id: str, error: openai.OpenAIError) -> None:
        job = self.jobs.retrieve(job_id)
        if job.status not in ENDED:
            raise explained(error) from error
        self.ledger.note(f"The job had already ended at the provider ({job.status}).", status=job.status)

    def _pause(self, job: FineTuningJob) -> None:
        try:
            self.line.call(lambda: self.jobs.pause(job.id))
        except UserError as refused:
            message = (
                f"{refused.sentence} The job cannot be paused there: it goes on, and costs what it costs. "
                "Resume here to watch it again, or cancel it."
            )
            self.run.emit("warn", level="warn", code="no_pause", message=message)
            return
        self.ledger.note("The job is paused at the provider.", status="paused", paused_here=True)

    def _resume(self, job: FineTuningJob) -> FineTuningJob:
        resumed = self.line.call(lambda: self.jobs.resume(job.id))
        self.ledger.note("The job goes on at the provider.", status=resumed.status, paused_here=False)
        return resumed

    def _stop_and_keep(self, job: FineTuningJob) -> Ending:
        """Cancel it there and keep the checkpoint with the smallest validation loss, else the newest."""
        self._mirror(self._look(job.id))
        found = self._checkpoints(job.id)
        if not found:
            message = "There is no checkpoint at the provider yet, so nothing could be kept."
            self.run.emit("warn", level="warn", code="nothing_to_keep", message=message)
            self.cancel(job.id)
            raise Stopped("cancel")
        kept = min(found, key=_goodness)
        self.cancel(job.id)
        self.numbers |= named(kept.metrics.to_dict())
        return Ending(self._look(job.id), kept.fine_tuned_model_checkpoint, kept.step_number)

    # --- the end ---------------------------------------------------------------------------------------------------

    def _ended(self, job: FineTuningJob) -> Ending:
        if job.status == "succeeded" and job.fine_tuned_model:
            return Ending(job, job.fine_tuned_model)
        if job.status == "cancelled":
            raise UserError(
                "cancelled_elsewhere", "The job was cancelled at the provider, not from here.", reason="provider_error"
            )
        if job.error is None or not job.error.message:
            raise EngineError("provider_error", "The job failed at the provider, which gave no reason.")
        sentence = f"The provider says: {job.error.message}"
        raise UserError(job.error.code or "provider_error", sentence, job.error.param, reason=_reason(job))


def named(data: Any) -> dict[str, float]:
    """A provider's metrics under our names; what is no number is left out."""
    found: dict[str, float] = {}
    for theirs, ours in METRICS.items():
        value = data.get(theirs)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[ours] = float(value)
    return found


def _goodness(checkpoint: FineTuningJobCheckpoint) -> tuple[float, int]:
    loss = named(checkpoint.metrics.to_dict()).get("valid_loss")
    return (loss if loss is not None else float("inf"), -checkpoint.step_number)


def _reason(job: FineTuningJob) -> FailureReason:
    """A failure of the files is the data's, anything else the provider's."""
    return "bad_data" if job.error is not None and job.error.param in FILE_PARAMETERS else "provider_error"
