"""How an evaluation is carried in and out of its child process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.urls import reverse

from evaluation_app import operations
from evaluation_app.engine_spec import endpoint_keys, write_spec
from evaluation_app.models import Evaluation
from evaluation_app.queries.phases import phase_words
from finetune_engine.errors import EngineError
from finetune_engine.events import Event
from work_kit import kinds
from work_kit.choices import Queue
from work_kit.files import store_file
from work_kit.models import Job


class EvaluationRun:
    """``evaluation.run``: asks several models the same rows. Those that are all behind addresses need no machine of ours."""

    name = operations.KIND
    queue: str = Queue.GPU

    def page_url(self, job: Job) -> str:
        """The evaluation's page."""
        return reverse("evaluation:detail", args=[job.project.slug, job.pk])

    def prepare(self, job: Job, workdir: Path) -> list[str]:
        """Bring the models and the snapshot to this machine and write the spec."""
        path = write_spec(_evaluation(job), workdir)
        return ["evaluate", str(path), "--out", str(workdir / "out")]

    def secrets(self, job: Job) -> dict[str, str]:
        """The keys of models behind addresses, and of the judge."""
        return endpoint_keys(_evaluation(job))

    def phase_label(self, job_id: str, data: dict[str, Any]) -> str:
        """What is being done with which model, in words."""
        return phase_words(job_id, data)

    def on_event(self, job: Job, event: Event, workdir: Path) -> None:
        """Nothing of an evaluation is mirrored before it is complete."""

    def save(self, job: Job, workdir: Path) -> dict[str, Any]:
        """Copy the answers to storage; the report itself goes into the row."""
        out = workdir / "out"
        try:
            # as with events: models do say the character NUL, and PostgreSQL does not take it
            report = json.loads((out / "report.json").read_text(encoding="utf-8").replace("\\u0000", "\\ufffd"))
        except (OSError, ValueError) as error:
            raise EngineError("internal", f"the evaluation left no readable report: {error}") from error
        samples = out / "samples.parquet"
        if not samples.is_file():
            raise EngineError("internal", "the evaluation left no samples")
        name = store_file(samples, f"evaluations/{job.pk}/{job.attempt}/samples.parquet")
        return {"report": report, "samples_name": name}

    def commit(self, job: Job, saved: dict[str, Any]) -> dict[str, Any]:
        """Put the report into the evaluation's row."""
        operations.keep_report(evaluation_id=job.pk, report=saved["report"], samples_name=saved["samples_name"])
        return {"evaluation": job.pk, "verdict": saved["report"].get("verdict")}

    def ended(self, job: Job) -> None:
        """The evaluation shows the job's own state; there is nothing to mark."""


def _evaluation(job: Job) -> Evaluation:
    rows = Evaluation.objects.select_related("project", "trained_model__training_job__work", "snapshot")
    return rows.prefetch_related("contenders__trained_model", "contenders__connection").get(pk=job.pk)


def register() -> None:
    """Make the kind known to the job engine."""
    kinds.register(EvaluationRun())
