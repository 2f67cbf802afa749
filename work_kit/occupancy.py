"""Who is there to work, on what, what they do, and who waits: of the whole house. Titles and project names are told only
of one's own projects; of the others only that somebody is there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from work_kit.choices import LEASED, Queue, State
from work_kit.models import Device, Job, Worker
from work_kit.queries import WORKER_FRESH_SECONDS, claimable_jobs, database_now, job_percent

FORGOTTEN = timedelta(days=1)  # a machine that has been silent for so long is shown no more
SHOWN_WAITING = 100  # of a queue


@dataclass(frozen=True)
class JobTold:
    """A job as far as the reader may know it: ``title``, ``kind`` and ``project`` are empty for a job of another project."""

    id: str
    title: str
    kind: str
    project: str
    project_slug: str
    state: str
    percent: float | None

    @property
    def is_known(self) -> bool:
        """Whether it belongs to one of the reader's projects."""
        return bool(self.project)


@dataclass(frozen=True)
class WorkerTold:
    """A worker, whether its heartbeat is fresh, and what it runs."""

    row: Worker
    is_fresh: bool
    job: JobTold | None


@dataclass(frozen=True)
class DeviceTold:
    """A card or a processor, whether its machine was heard of lately, and who holds it."""

    row: Device
    is_fresh: bool
    job: JobTold | None


@dataclass(frozen=True)
class WaitingTold:
    """A job in line. ``position`` counts from 1 in the order in which workers take jobs."""

    position: int
    job: JobTold
    waits_seconds: float


@dataclass(frozen=True)
class Line:
    """A queue: how many workers serve it now, and who waits. ``count`` may be more than are listed."""

    queue: str
    label: str
    workers: int
    count: int
    waiting: list[WaitingTold]


@dataclass(frozen=True)
class Occupancy:
    """The whole house at one moment."""

    workers: list[WorkerTold]
    devices: list[DeviceTold]
    lines: list[Line]

    @property
    def has_worker(self) -> bool:
        """Whether anybody is there."""
        return any(worker.is_fresh for worker in self.workers)


def occupancy(project_ids: Collection[str]) -> Occupancy:
    """Workers, devices and queues, told to somebody who belongs to these projects. A dozen queries, however many jobs."""
    now = database_now()
    fresh_since = now - timedelta(seconds=WORKER_FRESH_SECONDS)
    running = list(Job.objects.filter(state__in=LEASED).select_related("project").order_by("pk"))
    by_place = {(job.host, job.device, job.queue): job for job in running}
    mine = set(project_ids)
    workers = [
        WorkerTold(row, row.heartbeat_at >= fresh_since, told(by_place.get((row.host, row.device, row.queue)), mine))
        for row in Worker.objects.filter(heartbeat_at__gte=now - FORGOTTEN).order_by("queue", "name")
    ]
    devices = [
        DeviceTold(row, row.seen_at >= fresh_since, told(_holder(row, running), mine))
        for row in Device.objects.filter(seen_at__gte=now - FORGOTTEN).order_by("host", "name")
    ]
    lines = [_line(queue, workers, mine, now) for queue in Queue]
    return Occupancy(workers, devices, [line for line in lines if line.workers or line.count])


def told(job: Job | None, mine: Collection[str]) -> JobTold | None:
    """The job as somebody of these projects may see it; None for no job."""
    if job is None:
        return None
    known = job.project_id in mine
    return JobTold(
        id=job.pk if known else "",
        title=job.title if known else "",
        kind=job.kind if known else "",
        project=job.project.name if known else "",
        project_slug=job.project.slug if known else "",
        state=job.state,
        percent=job_percent(job),
    )


def _holder(device: Device, running: list[Job]) -> Job | None:
    return next((job for job in running if job.pk == device.job_id and job.lease_token == device.lease_token), None)


def _line(queue: Queue, workers: list[WorkerTold], mine: Collection[str], now: datetime) -> Line:
    count = Job.objects.filter(queue=queue, state=State.QUEUED).count()
    hands = sum(worker.is_fresh and worker.row.queue == queue for worker in workers)
    waiting = claimable_jobs(queue, datetime.max.replace(tzinfo=UTC))[:SHOWN_WAITING] if count else []
    projects = Job.objects.filter(pk__in=[job.pk for job in waiting]).select_related("project").in_bulk()
    places = [
        WaitingTold(position, shown, max(0.0, (now - job.created_at).total_seconds()))
        for position, job in enumerate(waiting, start=1)
        if (shown := told(projects.get(job.pk), mine)) is not None
    ]
    return Line(str(queue), str(queue.label), hands, count, places)


def as_dict(found: Occupancy) -> dict[str, Any]:
    """As ``/api/v1`` shows it."""
    return {
        "workers": [
            {
                "host": worker.row.host,
                "queue": worker.row.queue,
                "device": worker.row.device,
                "is_fresh": worker.is_fresh,
                "heartbeat_at": worker.row.heartbeat_at.isoformat(),
                "memory_bytes": worker.row.memory_bytes,
                "memory_free_bytes": worker.row.memory_free_bytes,
                "disk_free_bytes": worker.row.disk_free_bytes,
                "job": worker.job.id or None if worker.job is not None else None,
                "is_busy": worker.job is not None,
            }
            for worker in found.workers
        ],
        "queues": [
            {
                "queue": line.queue,
                "workers": line.workers,
                "waiting": line.count,
                "mine": [
                    {"job": place.job.id, "position": place.position, "waits_seconds": round(place.waits_seconds)}
                    for place in line.waiting
                    if place.job.is_known
                ],
            }
            for line in found.lines
        ],
    }
