"""A training that happened once, told again: its events as a worker would store them, without any model.

``python -m tests.house.recorded_run prepare`` makes a person, a project and a running training and prints where they are;
``... tell JOB FROM TO`` tells these steps; ``... end JOB`` ends it. Everything else is the site's own.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from datetime import timedelta

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finetune_site.settings")

STEPS, CHECK_EVERY = 120, 20
QUESTION = "Either party may end this agreement with <b>six weeks</b> of notice. Which kind of clause is this?"
ANSWERS = ["the the the", "Payment terms", "Termination", "Termination", "Termination", "Termination clause"]


def prepare() -> dict[str, str]:
    """Everything that a page needs around a training; a worker that is there, and a job of another project that waits."""
    from django.core.management import call_command
    from django.test import Client
    from django.utils import timezone

    call_command("migrate", verbosity=0)
    from accounts_app.models import User
    from accounts_app.operations import create_project
    from accounts_app.permissions import project_for
    from datasets_app.models import Dataset, Snapshot, Upload
    from jobs_app.operations import start_training
    from work_kit.models import Device, Job, Worker

    user = User.objects.create_user(email="ada@example.com", name="Ada Advocate")
    project = create_project(user=user, name="Contract clauses")
    actor = project_for(user, project.slug, "view")
    upload = Upload.objects.create(project=project, name="a.jsonl", size=4096, sha256="0" * 64, storage_name="none")
    dataset = Dataset.objects.create(
        project=project,
        upload=upload,
        name="Contract clauses",
        state="ready",
        total=900,
        accepted=900,
        import_attempt=1,
    )
    snapshot = Snapshot.objects.create(
        project=project, dataset=dataset, number=1, state="ready", sha256="1" * 64, counts={"train": 800}
    )

    def start(name: str, **spec: object) -> str:
        made = start_training(actor=actor, name=name, base_model_key="demo-base", snapshot=snapshot, spec=spec)
        return str(made.pk)

    now = timezone.now()
    first, watched, waiting = start("First try", r=8), start("Clauses, larger", r=32), start("Clauses, again")
    begun = {"started_at": now, "host": "mill", "device": "cpu", "attempt": 1, "lease_token": "x" * 32}
    Job.objects.filter(pk=watched).update(state="running", phase="training", progress_total=STEPS, **begun)
    Job.objects.filter(pk=first).update(state="running", phase="training", attempt=1, started_at=now)
    alive = now + timedelta(hours=1)  # nobody is here to beat
    common = {"host": "mill", "device": "cpu", "pid": 1, "started_at": now, "memory_bytes": 16 * 2**30}
    Worker.objects.create(
        name="gpu@mill:1",
        queue="gpu",
        heartbeat_at=alive,
        memory_free_bytes=9 * 2**30,
        disk_free_bytes=80 * 2**30,
        **common,
    )
    Device.objects.create(
        host="mill", name="cpu", job_id=watched, lease_token="x" * 32, memory_bytes=16 * 2**30, seen_at=alive
    )
    browser = Client()
    browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    cookie = browser.cookies["sessionid"].value
    return {"slug": project.slug, "first": first, "watched": watched, "waiting": waiting, "cookie": cookie}


def tell(job_id: str, first: int, last: int, *, pause: float = 0.0) -> None:
    """The events of these steps."""
    from django.db import transaction
    from django.utils import timezone

    from work_kit.models import Job, JobEvent

    for step in range(first, last + 1):
        with transaction.atomic():
            Job.objects.filter(pk=job_id).update(progress_done=step, progress_unit="steps", eta_seconds=STEPS - step)
            rows = [("metric", _metric(step))]
            if step % CHECK_EVERY == 0:
                at = step // CHECK_EVERY - 1
                sample = {"step": step, "prompt": QUESTION, "answer": ANSWERS[at], "reference": "Termination"}
                rows += [("sample", sample), ("checkpoint", {"step": step, "is_best": step <= 80})]
                _save_state(job_id, step)
            if step == 7:
                rows.append(("warn", {"message": "2 of 800 examples are longer than 512 tokens and were cut."}))
            JobEvent.objects.bulk_create(
                JobEvent(job_id=job_id, attempt=1, kind=kind, data=data, at=timezone.now()) for kind, data in rows
            )
        time.sleep(pause)


def end(job_id: str) -> None:
    """Its last word."""
    from django.utils import timezone

    from work_kit.models import Job, JobEvent

    Job.objects.filter(pk=job_id).update(state="cancelled", phase="done", finished_at=timezone.now(), lease_token="")
    data = {"state": "cancelled", "label": "Cancelled"}
    JobEvent.objects.create(job_id=job_id, attempt=1, kind="state", data=data, at=timezone.now())


def _metric(step: int) -> dict[str, object]:
    learned = 2.4 * math.exp(-step / 25)
    data: dict[str, object] = {
        "step": step,
        "train_loss": round(learned + 0.15 + 0.05 * math.sin(step), 4),
        "learning_rate": 2e-4 * min(1.0, step / 6) * (1 - step / (STEPS + 1)),
        "grad_norm": round(1.1 + 0.4 * math.sin(step * 1.7), 3),
        "tokens_per_second": round(880 + 60 * math.sin(step / 3), 1),
        "memory_bytes": 410 * 2**20 + step * 2**17,
    }
    if step == 33:
        data["train_loss"] = "nan"
    if step % CHECK_EVERY == 0:
        data["valid_loss"] = round(learned + 0.45 + max(0.0, (step - 80) / 120), 4)
    return data


def _save_state(job_id: str, step: int) -> None:
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage

    from jobs_app.models import Checkpoint, TrainingJob

    training = TrainingJob.objects.get(pk=job_id)
    prefix = f"projects/{training.project_id}/checkpoints/{job_id}/1-{step:08d}"
    content = b"weights" * 1000
    entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest = json.dumps({"files": {"adapter_model.safetensors": entry}}).encode()
    default_storage.save(f"{prefix}/adapter_model.safetensors", ContentFile(content))
    default_storage.save(f"{prefix}/manifest.json", ContentFile(manifest))
    metric = _metric(step)
    Checkpoint.objects.filter(training_job=training).update(is_best=False)
    Checkpoint.objects.create(
        training_job=training,
        attempt=1,
        step=step,
        is_best=True,
        metrics={name: metric[name] for name in ("train_loss", "valid_loss")},
        storage_prefix=prefix,
        manifest_sha256=hashlib.sha256(manifest).hexdigest(),
        is_committed=True,
    )


def main(order: str, *arguments: str) -> None:
    """Do what the command line says."""
    import django

    django.setup()
    if order == "prepare":
        print(json.dumps(prepare()))
    elif order == "tell":
        job_id, first, last, pause = arguments
        tell(job_id, int(first), int(last), pause=float(pause))
    else:
        end(arguments[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
