"""A kind of job like a training in everything, but its trainer is a toy."""

from __future__ import annotations

import json
import os
from pathlib import Path

from jobs_app.models import TrainingJob
from jobs_app.operations import checkpoints
from jobs_app.runner import TrainKind
from work_kit.kinds import NotYet, register
from work_kit.models import Job

KIND = "chaos.train"
DEFAULTS = {"steps": 12, "save_steps": 4, "step_seconds": 0.02}


class ChaosKind(TrainKind):
    """Rows, checkpoints, storing and the model's row are the product's own."""

    name = KIND
    program = "tests.chaos.trainer"

    def prepare(self, job: Job, workdir: Path) -> list[str]:
        if job.params.get("wait_once") and not (workdir / "waited").exists():
            (workdir / "waited").touch()
            raise NotYet(0.05)
        found = checkpoints.newest_usable(TrainingJob.objects.get(pk=job.pk), workdir)
        wanted = {name: job.params.get(name, value) for name, value in DEFAULTS.items()}
        spec = {"job": job.pk, "ledger": os.environ["CHAOS_LEDGER"], "fault": job.params.get("fault"), **wanted}
        path = workdir / "spec.json"
        path.write_text(json.dumps(spec | {"resume_from": str(found) if found else None}))
        return ["toy", str(path), "--out", str(workdir / "out")]


def install() -> None:
    register(ChaosKind())
