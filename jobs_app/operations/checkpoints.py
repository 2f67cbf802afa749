"""Checkpoints between the trainer's folder, the storage and the table.

A row counts only once it is committed, and it is committed only after every file and then the manifest are in
storage; so a crash in between costs one checkpoint and never leaves a row that lies.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.files.storage import default_storage
from django.db import transaction

from finetune_engine.errors import EngineError
from finetune_engine.train.failpoints import failpoint
from finetune_engine.train.local.commit import verify_folder
from jobs_app.models import Checkpoint, TrainedModel, TrainingJob
from web_kit.ids import new_id
from work_kit.files import MANIFEST, delete_tree, fetch_to, read_manifest, store_tree
from work_kit.models import Job
from work_kit.operations import still_holds

log = logging.getLogger(__name__)

KEPT_LATEST = 3  # besides the best one


def note(job: Job, data: dict[str, Any]) -> None:
    """Record that the trainer wrote a checkpoint. ``data`` is the engine's ``checkpoint`` event."""
    if data.get("is_best"):
        Checkpoint.objects.filter(training_job_id=job.pk, is_best=True).update(is_best=False)
    Checkpoint.objects.update_or_create(
        training_job_id=job.pk,
        attempt=job.attempt,
        step=int(data["step"]),
        defaults={
            "metrics": data.get("metrics") or {},
            "is_best": bool(data.get("is_best")),
            "manifest_sha256": str(data.get("manifest_sha256") or ""),
        },
    )


def commit(job: Job, data: dict[str, Any], workdir: Path) -> None:
    """Copy the files of a noted checkpoint to storage and commit its row.

    A checkpoint that is gone by now (the trainer keeps only a few), broken, or replaced by that of a later attempt is
    passed over: the row stays uncommitted and nobody resumes from it.
    """
    row = Checkpoint.objects.filter(
        training_job_id=job.pk, attempt=job.attempt, step=int(data["step"]), is_committed=False
    ).first()
    folder = workdir / "out" / str(data["path"])
    if row is None or verify_folder(folder) != row.manifest_sha256:
        return
    prefix = f"projects/{job.project_id}/checkpoints/{job.pk}/{job.attempt}-{row.step:08d}-{new_id()[-8:]}"
    try:
        if MANIFEST not in store_tree(folder, prefix):  # the trainer began to remove it meanwhile, manifest first
            return
    except Exception as problem:
        if not is_storage_problem(problem):
            raise
        # Training goes on without it; the next checkpoint tries again.
        log.warning("job %s: checkpoint %s not stored: %s", job.pk, row.step, problem)
        return
    failpoint("checkpoint_row", "before")
    with transaction.atomic():
        # Whoever took the job over may have ended it, and swept from the storage what had no row.
        is_ours = still_holds(job)
        if is_ours:
            Checkpoint.objects.filter(pk=row.pk).update(storage_prefix=prefix, is_committed=True)
    failpoint("checkpoint_row", "after")
    if is_ours:
        thin_out(job.pk)
    else:
        discard([prefix])


def thin_out(job_id: str) -> None:
    """Keep the best committed checkpoint and the latest few; discard the others."""
    rows = list(Checkpoint.objects.filter(training_job_id=job_id, is_committed=True).order_by("-step", "-attempt"))
    spare = [row for row in rows[KEPT_LATEST:] if not row.is_best]
    Checkpoint.objects.filter(pk__in=[row.pk for row in spare]).delete()
    discard(row.storage_prefix for row in spare)


def newest_usable(training: TrainingJob, workdir: Path) -> Path | None:
    """The folder of the furthest checkpoint that has a row and whose manifest verifies, on this host or fetched from
    storage.

    None when there is none, so that training begins at the start.
    """
    local = dict(local_checkpoints(workdir / "out" / "checkpoints"))
    for row in training.checkpoints.order_by("-step", "-attempt"):
        if (folder := local.get(row.step)) is not None:
            if verify_folder(folder) == row.manifest_sha256:
                return folder
            log.warning("job %s: the checkpoint of step %s on this host is broken", training.pk, row.step)
        if row.is_committed and (fetched := _fetch(training, row, workdir)) is not None:
            return fetched
    return None


def _fetch(training: TrainingJob, row: Checkpoint, workdir: Path) -> Path | None:
    """The checkpoint from storage, with the best one beside it, where the trainer looks for it."""
    parent = workdir / "resume" / row.pk
    best = training.checkpoints.filter(is_committed=True, is_best=True, step__lt=row.step).order_by("-attempt").first()
    if best is not None:
        _fetch_one(training, best, parent)
    return _fetch_one(training, row, parent)


def _fetch_one(training: TrainingJob, row: Checkpoint, parent: Path) -> Path | None:
    folder = parent / f"step-{row.step:08d}"
    if verify_folder(folder) is None:
        try:
            for name in [*read_manifest(row.storage_prefix)["files"], MANIFEST]:
                fetch_to(folder / name, f"{row.storage_prefix}/{name}")
        except (FileNotFoundError, ValueError, KeyError, EngineError) as problem:
            # Gone or broken: an earlier one will do. A storage that does not answer is raised: the job tries again.
            log.warning("job %s: checkpoint %s is not whole in the storage: %s", training.pk, row.step, problem)
            return None
    return folder if verify_folder(folder) == row.manifest_sha256 else None


def local_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """``(step, folder)`` of the trainer's own checkpoints, the furthest first, verified or not."""
    found = []
    for path in folder.glob("step-*"):
        digits = path.name.removeprefix("step-")
        if path.is_dir() and digits.isdigit():
            found.append((int(digits), path))
    return sorted(found, reverse=True)


def is_storage_problem(problem: Exception) -> bool:
    """Whether the file storage (a disk, or an object store through boto) failed, and not we."""
    return isinstance(problem, OSError | EngineError) or type(problem).__module__.startswith(("botocore", "s3transfer"))


def sweep_storage(job: Job) -> None:
    """Discard what killed attempts of an ended job stored without a row: half of a model, or of a checkpoint."""
    models, own = f"projects/{job.project_id}/models", f"projects/{job.project_id}/checkpoints/{job.pk}"
    begun = {f"{models}/{job.pk}-{attempt}" for attempt in range(1, job.attempt + 1)}
    stored = {f"{folder}/{name}" for folder in (models, own) for name in _stored_folders(folder)}
    discard(prefix for prefix in stored if prefix in begun or prefix.startswith(f"{own}/"))


def _stored_folders(prefix: str) -> list[str]:
    try:
        return list(default_storage.listdir(prefix)[0])
    except FileNotFoundError:
        return []


def discard(prefixes: Iterable[str]) -> None:
    """Delete everything under these storage prefixes, but for those that a model or a checkpoint still names. What is
    gone already is no mistake."""
    wanted = set(filter(None, prefixes))
    for rows in (TrainedModel.objects, Checkpoint.objects):
        wanted.difference_update(rows.filter(storage_prefix__in=wanted).values_list("storage_prefix", flat=True))
    for prefix in sorted(wanted):
        with contextlib.suppress(FileNotFoundError):
            delete_tree(prefix)
