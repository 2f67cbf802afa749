"""What earlier attempts left on this machine: events that nobody stored, and folders that nobody needs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from finetune_engine.train.lock import FolderBusy, take_lock
from work_kit.choices import State
from work_kit.eventfile import EventFile
from work_kit.models import Job

_YOUNG_SECONDS = 3600.0  # a folder without a job this young may belong to a job that is just being written


def earlier_events(workdir: Path, attempt: int) -> Iterator[tuple[int, EventFile]]:
    """``(attempt, its event file)`` of the attempts before this one on this machine, oldest first. A worker that was
    killed has not stored the last moments of its child."""
    for number in range(1, attempt):
        path = workdir / f"attempt-{number}.jsonl"
        if path.exists():
            yield number, EventFile(path)


def sweep_work_folders() -> None:
    """Remove the work folders of jobs that need them no more: done elsewhere, cancelled, or deleted. A failed job keeps
    its own, with the logs."""
    root = Path(settings.WORK_DIR)
    folders = {path.name: path for path in root.iterdir() if path.is_dir()} if root.is_dir() else {}
    states = dict(Job.objects.filter(pk__in=list(folders)).values_list("pk", "state"))
    for name, path in folders.items():
        gone = name not in states and time.time() - path.stat().st_mtime > _YOUNG_SECONDS
        if gone or states.get(name) in {State.SUCCEEDED, State.CANCELLED}:
            _remove(path)


def tidy(job_id: str) -> None:
    """The same for one job, whose attempt has just ended here."""
    state = Job.objects.filter(pk=job_id).values_list("state", flat=True).first()
    if state in {State.SUCCEEDED, State.CANCELLED, None}:
        _remove(Path(settings.WORK_DIR) / job_id)


def _remove(path: Path) -> None:
    lock = None
    try:
        if (path / "out").is_dir():
            lock = take_lock(path / "out")
        shutil.rmtree(path, ignore_errors=True)
    except FolderBusy:  # somebody still works there; the next round finds it free
        pass
    finally:
        if lock is not None:
            os.close(lock)
