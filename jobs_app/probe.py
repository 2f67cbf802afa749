"""What the kind of job ``jobs.probe`` does: a few real steps and a real check, to measure this machine before a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasets_app.models import Snapshot
from datasets_app.queries import snapshot_parquet
from finetune_engine.errors import EngineError, UserError
from finetune_engine.events import Event
from jobs_app import queries
from jobs_app.choices import PROBE_KIND
from work_kit import kinds
from work_kit.choices import Queue
from work_kit.kinds import NotYet
from work_kit.models import Job

WAIT_SECONDS = 1.0


class ProbeKind:
    """Measuring how fast and with how much memory one base model trains on the machine that takes the job."""

    name = PROBE_KIND
    queue = str(Queue.GPU)

    def prepare(self, job: Job, workdir: Path) -> list[str]:
        """Write ``spec.json``. Raises NotYet while the data is still being frozen, UserError when it cannot be."""
        snapshot = Snapshot.objects.filter(pk=job.params["snapshot"], project_id=job.project_id).first()
        if snapshot is None:
            raise UserError("snapshot_deleted", "The data of this test run has been deleted.", reason="bad_data")
        if snapshot.state == "processing":
            raise NotYet(WAIT_SECONDS)
        if snapshot.state != "ready":
            raise UserError("snapshot_failed", "The rows of this data could not be frozen.", reason="bad_data")
        workdir.mkdir(parents=True, exist_ok=True)
        spec = {
            "base_model": queries.base_model_ref(job.params["base_model"]),
            "snapshot": {"path": str(snapshot_parquet(snapshot)), "sha256": snapshot.sha256},
            "training": job.params["training"],
            "task_type": snapshot.task_type,
        }
        path = workdir / "spec.json"
        path.write_text(json.dumps(spec, ensure_ascii=False, indent=1), encoding="utf-8")
        return ["probe", str(path), "--out", str(workdir / "out")]

    def on_event(self, job: Job, event: Event, workdir: Path) -> None:
        """Nothing to mirror: the figures come at the end."""

    def save(self, job: Job, workdir: Path) -> dict[str, Any]:
        """Read ``probe.json``."""
        path = workdir / "out" / "probe.json"
        try:
            told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            raise EngineError("internal", "The test run ended without its figures.", {"path": str(path)}) from problem
        return told

    def commit(self, job: Job, saved: dict[str, Any]) -> dict[str, Any]:
        """The figures are the job's result."""
        return {"probe": saved}

    def ended(self, job: Job) -> None:
        """A test run has no rows of its own."""


def register() -> None:
    """Make the kind known to the job engine."""
    kinds.register(ProbeKind())
