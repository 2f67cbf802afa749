"""Operations: forgetting what ended jobs said and left on this machine, but for the end of it."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from django.db.models import Count, QuerySet

from accounts_app.models import Project
from work_kit.choices import TERMINAL
from work_kit.leftovers import last_words
from work_kit.models import Job, JobEvent
from work_kit.operations import note_job
from work_kit.stored_sizes import Size, folder_size, work_folder

KEPT_LINES = 50  # of every job
LOG_KINDS = ("log", "warn", "sample")  # the curves, states and results are the job's record and stay
_TAIL_CHARACTERS = 4000


def long_logs(project: Project, *, ended_before: datetime) -> QuerySet[Job]:
    """Jobs that ended before this moment and say more than the lines that are kept; ``lines`` counts them."""
    return (
        Job.objects.filter(project=project, state__in=TERMINAL, finished_at__lt=ended_before)
        .filter(events__kind__in=LOG_KINDS)
        .annotate(lines=Count("events"))
        .filter(lines__gt=KEPT_LINES)
        .order_by("pk")
    )


def left_folders(project: Project, *, ended_before: datetime) -> list[Job]:
    """Jobs that ended before this moment and have a work folder on this machine still."""
    ended = Job.objects.filter(project=project, state__in=TERMINAL, finished_at__lt=ended_before).order_by("pk")
    return [job for job in ended if work_folder(job.pk).is_dir()]


def forget_logs(project: Project, *, ended_before: datetime) -> Size:
    """Forget the logs and samples of these jobs but for the last lines, and remove their work folders on this machine; the
    end of a failed job's own output becomes a line of its log first. Returns what went."""
    freed = Size()
    for job in left_folders(project, ended_before=ended_before):
        freed += _remove_folder(job)
    for job in long_logs(project, ended_before=ended_before):
        rows = JobEvent.objects.filter(job=job, kind__in=LOG_KINDS)
        kept = list(rows.order_by("-id").values_list("pk", flat=True)[:KEPT_LINES])
        count, _by_model = rows.exclude(pk__in=kept).delete()
        freed += Size(count, 0)
    return freed


def _remove_folder(job: Job) -> Size:
    folder = work_folder(job.pk)
    size = folder_size(folder).size
    if tail := _tail(folder):
        note_job(job=job, kind="log", data={"level": "info", "message": f"The end of its output:\n{tail}"})
    shutil.rmtree(folder, ignore_errors=True)
    return Size(1, size)


def _tail(folder: Path) -> str:
    """The end of what the last attempt wrote."""
    logs = sorted(folder.glob("attempt-*.log"), key=lambda path: int(path.stem.rpartition("-")[2] or 0))
    return last_words(logs[-1], _TAIL_CHARACTERS).strip() if logs else ""
