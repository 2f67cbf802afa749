"""What a project keeps on disk, and what of it nobody would miss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Sum
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts_app.models import Project
from datasets_app.models import Dataset, Snapshot, Upload
from jobs_app.models import Checkpoint, TrainedModel
from work_kit.choices import TERMINAL
from work_kit.log_retention import KEPT_LINES, left_folders, long_logs
from work_kit.models import Job
from work_kit.stored_sizes import Size, folder_size, stored_size, work_folder

CHECKPOINTS, LOGS = "checkpoints", "logs"


@dataclass(frozen=True)
class DiskPart:
    """One kind of thing: how much there is and how much of it can go now. ``can_go`` None: not from here."""

    kind: str
    name: str | Promise
    sentence: str | Promise
    held: Size
    can_go: Size | None = None

    def as_dict(self) -> dict[str, Any]:
        """As ``/api/v1`` shows it."""
        spare = {"items": self.can_go.items, "bytes": self.can_go.size} if self.can_go is not None else None
        return {"kind": self.kind, "items": self.held.items, "bytes": self.held.size, "can_go": spare}


def disk_use(project: Project) -> list[DiskPart]:
    """Everything the project keeps, the part that grows fastest first."""
    now = timezone.now()
    return [
        _checkpoints(project, now),
        _models(project),
        _logs(project, now),
        _snapshots(project),
        _datasets(project),
        _uploads(project),
    ]


def spare_checkpoints(project: Project, *, ended_before: datetime) -> list[Checkpoint]:
    """Committed checkpoints of trainings that ended before this moment and that nothing needs.

    Needed are: those that became models; the best one and the newest one of a training without a model of its own (all
    that is left of it); and everything of a training that can still go on (paused or waiting), which has not ended. What
    a provider keeps takes up nothing here.
    """
    rows = list(
        Checkpoint.objects.filter(
            training_job__project=project,
            training_job__work__state__in=TERMINAL,
            training_job__work__finished_at__lt=ended_before,
            is_committed=True,
        )
        .exclude(storage_prefix="")
        .order_by("training_job_id", "step", "attempt")
    )
    models = list(
        TrainedModel.objects.filter(project=project).values_list("storage_prefix", "training_job_id", "checkpoint_step")
    )
    used = {prefix for prefix, _training, _step in models}
    finished = {training for _prefix, training, step in models if step is None}
    newest = {row.training_job_id: row.pk for row in rows}
    return [row for row in rows if row.storage_prefix not in used and _is_spare(row, finished, newest)]


def _is_spare(row: Checkpoint, finished: set[str], newest: dict[str, str]) -> bool:
    return row.training_job_id in finished or not (row.is_best or newest[row.training_job_id] == row.pk)


def size_of(rows: Sequence[Checkpoint]) -> Size:
    """How many checkpoints and their bytes."""
    return Size(len(rows), sum(stored_size(row.storage_prefix).size for row in rows))


def _checkpoints(project: Project, now: datetime) -> DiskPart:
    held = (
        Checkpoint.objects.filter(training_job__project=project, is_committed=True).exclude(storage_prefix="").count()
    )
    return DiskPart(
        CHECKPOINTS,
        _("Saved states of trainings"),
        _("What a paused or broken training goes on from. Needed no more once there is a model."),
        Size(held, stored_size(f"projects/{project.pk}/checkpoints").size),
        size_of(spare_checkpoints(project, ended_before=now)),
    )


def _models(project: Project) -> DiskPart:
    rows = TrainedModel.objects.filter(project=project)
    return DiskPart(
        "models",
        _("Trained models"),
        _("Delete a model on its own page, by its name."),
        Size(rows.count(), stored_size(f"projects/{project.pk}/models").size),
    )


def _logs(project: Project, now: datetime) -> DiskPart:
    open_jobs = Job.objects.filter(project=project).exclude(state__in=TERMINAL)
    there = [job for job in open_jobs if work_folder(job.pk).is_dir()]
    left = left_folders(project, ended_before=now)
    long = sum(job.lines - KEPT_LINES for job in long_logs(project, ended_before=now))  # type: ignore[attr-defined]
    spare = Size(len(left), sum(folder_size(work_folder(job.pk)).size for job in left))
    held = Size(len(there), sum(folder_size(work_folder(job.pk)).size for job in there)) + spare
    return DiskPart(
        LOGS,
        _("Logs and work folders"),
        _("What failed jobs left on this machine, and old lines of logs. The last lines of each log are kept."),
        held,
        spare + Size(long, 0),
    )


def _snapshots(project: Project) -> DiskPart:
    rows = Snapshot.objects.filter(project=project).exclude(storage_prefix="")
    sizes = [stored_size(f"snapshots/{pk}").size for pk in rows.values_list("pk", flat=True)]
    return DiskPart(
        "snapshots",
        _("Frozen snapshots"),
        _("They go with their data. Models keep the record of what they were trained on."),
        Size(len(sizes), sum(sizes)),
    )


def _datasets(project: Project) -> DiskPart:
    keys = Dataset.objects.filter(project=project, deleted_at=None).values_list("pk", flat=True)
    sizes = [stored_size(f"datasets/{pk}").size for pk in keys]
    return DiskPart(
        "datasets", _("Data, as checked"), _("Delete data on its own page, by its name."), Size(len(sizes), sum(sizes))
    )


def _uploads(project: Project) -> DiskPart:
    rows = Upload.objects.filter(project=project, deleted_at=None)
    told = rows.aggregate(count=Count("pk"), total=Sum("size"))
    return DiskPart(
        "uploads",
        _("Uploaded files"),
        _("As they came. The page Files of each data removes them."),
        Size(told["count"], told["total"] or 0),
    )


def largest_models(project: Project, count: int = 10) -> list[TrainedModel]:
    """The project's largest trained models."""
    return list(TrainedModel.objects.filter(project=project).order_by("-size_bytes", "-id")[:count])
