"""How an evaluation is carried in and out of its child process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.urls import reverse

from datasets_app.queries import snapshot_parquet
from evaluation_app import operations
from evaluation_app.models import Evaluation
from finetune_engine.errors import EngineError
from finetune_engine.events import Event
from jobs_app.queries import model_files
from work_kit import kinds
from work_kit.choices import Queue
from work_kit.files import store_file
from work_kit.models import Job

SEED = 42


class EvaluationRun:
    """``evaluation.run``: asks the base and the trained model the same rows."""

    name = operations.KIND
    queue: str = Queue.GPU

    def page_url(self, job: Job) -> str:
        """The evaluation's page."""
        return reverse("evaluation:detail", args=[job.project.slug, job.pk])

    def prepare(self, job: Job, workdir: Path) -> list[str]:
        """Bring the model and the snapshot to this machine and write the spec."""
        evaluation = Evaluation.objects.select_related("project", "trained_model", "snapshot").get(pk=job.pk)
        trained = evaluation.trained_model
        base, adapter, _digest = model_files(trained.api_name, evaluation.project)
        spec = {
            "base_model": base,
            "models": [
                {"key": "base", "adapter": None, "name": trained.base_model_key},
                {"key": "tuned", "adapter": str(adapter), "name": trained.name},
            ],
            "snapshot": {"path": str(snapshot_parquet(evaluation.snapshot)), "sha256": evaluation.snapshot.sha256},
            "split": evaluation.split,
            "limit": evaluation.case_limit,
            "task_type": evaluation.snapshot.task_type,
            "seed": SEED,
            "max_new_tokens": None,
            "suites": evaluation.suites,
        }
        path = workdir / "spec.json"
        path.write_text(json.dumps(spec, ensure_ascii=False, indent=1))
        return ["evaluate", str(path), "--out", str(workdir / "out")]

    def on_event(self, job: Job, event: Event, workdir: Path) -> None:
        """Nothing of an evaluation is mirrored before it is complete."""

    def save(self, job: Job, workdir: Path) -> dict[str, Any]:
        """Copy the answers to storage; the report itself goes into the row."""
        out = workdir / "out"
        try:
            report = json.loads((out / "report.json").read_text())
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


def register() -> None:
    """Make the kind known to the job engine."""
    kinds.register(EvaluationRun())
