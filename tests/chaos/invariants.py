"""What must hold after any fault. Each function returns sentences about what does not."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

from django.core.files.storage import default_storage

from jobs_app.models import Checkpoint, TrainedModel
from tests.chaos.kind import DEFAULTS
from tests.chaos.toy import expected
from work_kit.choices import TERMINAL, State
from work_kit.models import Device, Job, JobEvent
from work_kit.queries import metric_points

SUCCEEDED_IN = 12  # attempts: more than any of our campaigns needs


def breaks(accepted: list[str], ledger: Path, work_folders: list[Path]) -> list[str]:
    """Everything that is wrong with these jobs, now that all programs have ended."""
    found = [f"job {job_id} was accepted and is gone" for job_id in lost(accepted)]
    for job in Job.objects.filter(pk__in=accepted):
        about = [*state(job), *artefact(job), *metrics(job), *trainers(job, ledger), *checkpoints(job)]
        found += [f"job {job.pk} ({job.state}, attempt {job.attempt}): {sentence}" for sentence in about]
    return found + orphans(accepted, work_folders)


def lost(accepted: list[str]) -> list[str]:
    return sorted(set(accepted) - set(Job.objects.filter(pk__in=accepted).values_list("pk", flat=True)))


def state(job: Job) -> list[str]:
    """It ended, in one state, once, and holds nothing any more."""
    found = []
    if job.state not in TERMINAL:
        found.append("it has not ended")
    told = [event.data["state"] for event in JobEvent.objects.filter(job=job, kind="state").order_by("id")]
    if [name for name in told if name in TERMINAL] != [job.state] or told[-1] != job.state:
        found.append(f"its readers were told {told}")
    if job.lease_token or job.lease_expires_at or job.finished_at is None:
        found.append("it still holds a lease, or has no end")
    if Device.objects.filter(job=job).exists():
        found.append("it still holds a device")
    return found


def artefact(job: Job) -> list[str]:
    """A job that succeeded has exactly one model, whole and as an unbroken training would have made it; others have none."""
    models = list(TrainedModel.objects.filter(training_job_id=job.pk))
    if len(models) != (job.state == State.SUCCEEDED):
        return [f"it has {len(models)} models"]
    found = []
    for model in models:
        if not _verifies(model.storage_prefix, model.manifest_sha256):
            found.append("its model does not verify")
        elif model.run["value"] != expected(job.pk, model.run["steps"]):
            found.append("its model is not what an unbroken training makes")
        elif job.stop_action == "" and model.run["steps"] != job.params.get("steps", DEFAULTS["steps"]):
            found.append(f"its model has {model.run['steps']} steps")
    stored = _folders(f"projects/{job.project_id}/models")
    kept = {Path(model.storage_prefix).name for model in models}
    if orphaned := [name for name in stored if name.startswith(job.pk) and name not in kept]:
        found.append(f"models without a row lie in the storage: {orphaned}")
    return found


def metrics(job: Job) -> list[str]:
    """No step is missing or double, and the last words are there."""
    if job.state != State.SUCCEEDED:
        return []
    found = []
    steps = [point["step"] for point in metric_points(job.pk)]
    if steps != list(range(1, TrainedModel.objects.get(training_job_id=job.pk).run["steps"] + 1)):
        found.append(f"its metric steps are {steps}")
    rows = JobEvent.objects.filter(job=job, kind="metric").values_list("attempt", "data")
    doubles = [place for place, n in Counter((attempt, data["step"]) for attempt, data in rows).items() if n > 1]
    if doubles:
        found.append(f"(attempt, step) is double: {doubles}")
    for kind in ("result", "done"):
        if JobEvent.objects.filter(job=job, kind=kind, attempt=job.attempt).count() != 1:
            found.append(f"its last attempt has not said {kind!r} once")
    return found


def trainers(job: Job, ledger: Path) -> list[str]:
    """Never two trainers at work: once another has made a step, an earlier one makes none (but the one it is in)."""
    path = ledger / job.pk
    if not path.exists():
        return []
    late: Counter[str] = Counter()
    former: list[str] = []
    for line in sorted(path.read_text().splitlines(), key=lambda line: int(line.split()[0])):
        pid = line.split()[1]
        if pid in former[:-1]:
            late[pid] += 1
        elif pid not in former:
            former.append(pid)
    return [f"process {pid} made {n} steps beside another" for pid, n in late.items() if n > 1]


def checkpoints(job: Job) -> list[str]:
    """Every committed checkpoint verifies, and the storage holds no other."""
    found = []
    rows = list(Checkpoint.objects.filter(training_job_id=job.pk, is_committed=True))
    for row in rows:
        if not _verifies(row.storage_prefix, row.manifest_sha256):
            found.append(f"its checkpoint of step {row.step} does not verify")
    kept = {Path(row.storage_prefix).name for row in rows}
    if orphaned := sorted(set(_folders(f"projects/{job.project_id}/checkpoints/{job.pk}")) - kept):
        found.append(f"checkpoints without a row lie in the storage: {orphaned}")
    return found


def orphans(accepted: list[str], work_folders: list[Path]) -> list[str]:
    """No half-written file, no folder of a job that needs none, no device in nobody's hands."""
    found = [f"device {device} is held by nobody" for device in Device.objects.exclude(lease_token="")]
    failed = set(Job.objects.filter(pk__in=accepted, state=State.FAILED).values_list("pk", flat=True))
    for folder in work_folders:
        found += [f"half-written: {path}" for path in folder.rglob(".tmp-*")]
        found += [f"half-fetched: {path}" for path in folder.rglob("*.part")]
        found += [f"left behind: {path}" for path in folder.glob("*") if path.name not in failed]
    return found


def _verifies(prefix: str, manifest_sha256: str) -> bool:
    try:
        text = _read(f"{prefix}/manifest.json")
        files = json.loads(text)["files"]
        whole = all(hashlib.sha256(_read(f"{prefix}/{name}")).hexdigest() == files[name]["sha256"] for name in files)
    except (OSError, ValueError, KeyError):
        return False
    return whole and hashlib.sha256(text).hexdigest() == manifest_sha256


def _read(name: str) -> bytes:
    with default_storage.open(name, "rb") as file:
        return bytes(file.read())


def _folders(prefix: str) -> list[str]:
    try:
        return list(default_storage.listdir(prefix)[0])
    except FileNotFoundError:
        return []
