"""What attempts left on this machine: last words, events that nobody stored, and folders that nobody needs."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from finetune_engine.train.local.commit import ASIDE, sweep_aside
from finetune_engine.train.lock import FolderBusy, take_lock
from work_kit.choices import TERMINAL, State
from work_kit.eventfile import EventFile
from work_kit.kinds import kind_of
from work_kit.models import Job
from work_kit.outages import OUTAGES

logger = logging.getLogger(__name__)

_YOUNG_SECONDS = 3600.0  # a folder without a job this young may belong to a job that is just being written


def earlier_events(workdir: Path, attempt: int) -> Iterator[tuple[int, EventFile]]:
    """``(attempt, its event file)`` of the attempts before this one on this machine, oldest first. A worker that was
    killed has not stored the last moments of its child."""
    for number in range(1, attempt):
        path = workdir / f"attempt-{number}.jsonl"
        if path.exists():
            yield number, EventFile(path)


def last_words(log: Path, characters: int) -> str:
    """The end of what a program wrote, without the character that no database takes; "" when there is nothing to read."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4 * characters))
            return file.read().decode(errors="replace").replace("\0", "")[-characters:]
    except OSError:
        return ""


def sweep_work_folders() -> None:
    """Tidy up after every job that has a work folder here and has ended elsewhere, and after those that were deleted."""
    root = Path(settings.WORK_DIR)
    folders = {path.name: path for path in root.iterdir() if path.is_dir()} if root.is_dir() else {}
    jobs = {job.pk: job for job in Job.objects.filter(pk__in=list(folders))}
    for name, path in folders.items():
        if name not in jobs:
            if _age(path) > _YOUNG_SECONDS:
                _remove(path)
        elif jobs[name].state == State.FAILED:
            _remove(path, only_scraps=True)
        else:
            tidy(jobs[name])


def tidy(job: Job) -> None:
    """Remove what an ended job needs no more: its work folder here, and what killed attempts left in the storage. A failed
    job keeps its folder, with the logs and without what was half-written."""
    if job.state not in TERMINAL:
        return
    _remove(Path(settings.WORK_DIR) / job.pk, only_scraps=job.state == State.FAILED)
    try:
        sweep = getattr(kind_of(job.kind), "tidy", None)
        if sweep is not None:
            sweep(job)
    except OUTAGES:
        raise
    except Exception:  # the storage does not answer, or the kind is not installed: what is left only costs room
        logger.warning("job %s: the storage could not be tidied", job.pk, exc_info=True)


def _age(path: Path) -> float:
    """Seconds since the folder changed; 0 when another worker of this machine has removed it meanwhile."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _remove(path: Path, *, only_scraps: bool = False) -> None:
    lock = None
    try:
        if (path / "out").is_dir():
            lock = take_lock(path / "out")
        if only_scraps:
            for parent in {scrap.parent for scrap in path.rglob(f"{ASIDE}*")}:
                sweep_aside(parent)
        else:
            shutil.rmtree(path, ignore_errors=True)
    except (FolderBusy, FileNotFoundError):
        pass  # somebody still works there, and the next round finds it free; or another worker here is removing it
    finally:
        if lock is not None:
            os.close(lock)
