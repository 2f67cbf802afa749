"""Reads about jobs: for pages, for streams, and the one database clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heapify, heapreplace
from itertools import takewhile
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from work_kit.choices import ADVICE, LEASED, PHASES, TERMINAL, Queue, Reason, State
from work_kit.models import Device, Job, JobEvent, Worker

WORKER_FRESH_SECONDS = 20.0
LONGEST_LINE = 1000  # waiting jobs that one look at a queue considers
SAMPLED_JOBS = 20  # of a kind, to say how long one usually takes
_PERCENT_BEFORE_SAVED = 99.0  # 100 % is shown only once everything is saved

TONES: dict[str, str] = {
    State.QUEUED: "idle",
    State.PREPARING: "running",
    State.RUNNING: "running",
    State.SAVING: "running",
    State.STOPPING: "warn",
    State.PAUSED: "warn",
    State.SUCCEEDED: "ok",
    State.FAILED: "bad",
    State.CANCELLED: "idle",
}


def database_now() -> datetime:
    """The database's clock: the only one that judges leases."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')")
            return datetime.fromisoformat(cursor.fetchone()[0]).replace(tzinfo=UTC)
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now


@dataclass(frozen=True)
class JobCard:
    """What a page says about a job. ``percent`` and ``eta_seconds`` are None while unknown."""

    id: str
    kind: str
    title: str
    state: str
    label: str
    tone: str
    phase: str
    phase_label: str
    percent: float | None
    done: int
    total: int | None
    unit: str
    eta_seconds: float | None
    is_terminal: bool
    is_stoppable: bool
    failure_sentence: str
    failure_message: str
    advice: str
    failure: dict[str, Any]
    stop_action: str
    attempt: int
    host: str
    device: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def duration_seconds(self) -> float | None:
        """From the first start to the end; None before that."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


def job_card(job: Job) -> JobCard:
    """The job in plain words."""
    terminal = job.state in TERMINAL
    phase = "done" if job.state == State.SUCCEEDED else job.phase
    reason = job.failure_reason
    return JobCard(
        id=job.pk,
        kind=job.kind,
        title=job.title,
        state=job.state,
        label=str(State(job.state).label),
        tone=TONES[job.state],
        phase=phase,
        phase_label=str(PHASES.get(phase, phase.capitalize())),
        percent=job_percent(job),
        done=job.progress_done,
        total=job.progress_total,
        unit=job.progress_unit,
        eta_seconds=None if terminal else job.eta_seconds,
        is_terminal=terminal,
        is_stoppable=not terminal and job.state != State.STOPPING,
        failure_sentence=str(Reason(reason).label) if reason else "",
        failure_message=str(job.failure.get("message", "")),
        advice=str(ADVICE[reason]) if reason else "",
        failure=job.failure,
        stop_action=job.stop_action,
        attempt=job.attempt,
        host=job.host,
        device=job.device,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def job_percent(job: Job) -> float | None:
    """0..100. 100 exactly when succeeded; None while nothing is known."""
    if job.state == State.SUCCEEDED:
        return 100.0
    if not job.progress_total:
        return None
    return round(min(_PERCENT_BEFORE_SAVED, 100.0 * job.progress_done / job.progress_total), 1)


def events_after(job_id: str, cursor: int, limit: int = 1000) -> list[JobEvent]:
    """Up to ``limit`` events with ids above ``cursor``, oldest first."""
    return list(JobEvent.objects.filter(job_id=job_id, id__gt=cursor).order_by("id")[:limit])


def metric_points(job_id: str) -> list[dict[str, Any]]:
    """One point per optimizer step, ascending. An attempt that resumed at a step takes the place of everything that
    earlier ones said of that step and later ones; what an earlier one's lost worker had kept and is stored afterwards
    only fills gaps. A result of so many ``steps`` ends the curve: what was learnt after that is not in the model."""
    points: dict[int, dict[str, Any]] = {}
    latest, kept = 0, None
    told = JobEvent.objects.filter(job_id=job_id, kind__in=["metric", "result"]).order_by("id")
    for kind, attempt, data in told.values_list("kind", "attempt", "data"):
        if kind == "result":
            kept = data.get("steps")
            continue
        step = int(data.get("step", 0))
        if attempt > latest:
            points = {before: point for before, point in points.items() if before < step}
            latest, kept = attempt, None
        point = points.get(step, {})
        points[step] = point | data if attempt == latest else data | point
    return [points[step] for step in sorted(points) if not isinstance(kept, int) or step <= kept]


def log_lines(job_id: str, limit: int = 200) -> list[JobEvent]:
    """The newest log and warning events, oldest first."""
    rows = JobEvent.objects.filter(job_id=job_id, kind__in=["log", "warn", "error", "state"]).order_by("-id")[:limit]
    return list(reversed(rows))


def queue_position(job: Job) -> int | None:
    """1 for the next in line of its queue, in the order in which workers take jobs; None when it is not waiting."""
    if job.state != State.QUEUED:
        return None
    line = [other.pk for other in _fair_line(job.queue)]
    return line.index(job.pk) + 1 if job.pk in line else len(line) + 1


@dataclass(frozen=True)
class Place:
    """A waiting job's place in line: 1 is the next. ``workers`` take jobs of its queue now; ``wait_seconds`` is about how
    long it still waits, None when nothing is known (no worker is there, or no job of its kind has ended yet)."""

    position: int
    workers: int
    wait_seconds: float | None


def place_in_line(job: Job) -> Place | None:
    """Where a waiting job stands; None when it is not waiting."""
    if job.state != State.QUEUED:
        return None
    fresh = database_now() - timedelta(seconds=WORKER_FRESH_SECONDS)
    hands = Worker.objects.filter(queue=job.queue, heartbeat_at__gte=fresh).count()
    before = list(takewhile(lambda other: other.pk != job.pk, _fair_line(job.queue)))
    return Place(len(before) + 1, hands, _wait_seconds(job.queue, before, hands) if hands else None)


def _wait_seconds(queue: str, before: Sequence[Job], hands: int) -> float | None:
    """Until one of so many ``hands`` (workers) is free for whoever comes after these jobs.

    They are taken to last as long as the median of the last ``SAMPLED_JOBS`` of their kind, the running ones for what they
    say is left, and each free worker takes the next in line (list scheduling).
    """
    running = Job.objects.filter(queue=queue, state__in=LEASED)[:hands]
    usual = {kind: _usual_seconds(kind) for kind in {other.kind for other in [*running, *before]}}
    left = [usual[other.kind] if other.eta_seconds is None else other.eta_seconds for other in running]
    lengths = [usual[other.kind] for other in before]
    known = [seconds for seconds in [*left, *lengths] if seconds is not None]
    if len(known) < len(left) + len(lengths):
        return None
    free_at = ([0.0] * hands + known[: len(left)])[-hands:]
    heapify(free_at)
    for seconds in known[len(left) :]:
        heapreplace(free_at, free_at[0] + seconds)
    return round(free_at[0], 1)


def _usual_seconds(kind: str) -> float | None:
    """The median length of the last jobs of this kind that succeeded; None when there is none."""
    ended = Job.objects.filter(kind=kind, state=State.SUCCEEDED, started_at__isnull=False).order_by("-finished_at")
    lengths = sorted(
        (finished - started).total_seconds()
        for started, finished in ended.values_list("started_at", "finished_at")[:SAMPLED_JOBS]
        if started is not None and finished is not None
    )
    return lengths[len(lengths) // 2] if lengths else None


def _fair_line(queue: str) -> list[Job]:
    """The waiting jobs of a queue as workers will take them, also those whose pause is not over."""
    return claimable_jobs(queue, datetime.max.replace(tzinfo=UTC))


def jobs_of_projects(project_ids: Sequence[str]) -> QuerySet[Job]:
    """All jobs of these projects, newest first."""
    return Job.objects.filter(project_id__in=project_ids).select_related("project").order_by("-id")


def workers() -> list[Worker]:
    """Workers whose heartbeat is fresh."""
    since = database_now() - timedelta(seconds=WORKER_FRESH_SECONDS)
    return list(Worker.objects.filter(heartbeat_at__gte=since).order_by("name"))


def claimable_jobs(queue: str, now: datetime) -> list[Job]:
    """Waiting jobs of this queue that may start now, fairest first.

    A job's turn is the number of jobs of its project that run or wait before it; jobs of the same turn go by age. So
    projects take turns, however many jobs one of them has submitted.
    """
    waiting = Job.objects.filter(queue=queue, state=State.QUEUED, available_at__lte=now).order_by("id")
    turn: Counter[str] = Counter(Job.objects.filter(state__in=LEASED, queue=queue).values_list("project_id", flat=True))
    line = []
    for job in waiting[:LONGEST_LINE]:
        line.append((turn[job.project_id], job.pk, job))
        turn[job.project_id] += 1
    return [job for _, _, job in sorted(line, key=lambda place: place[:2])]


def uses_device(queue: str) -> bool:
    """Whether jobs of this queue compute for long and so need a device to themselves. Reading files does not, and a
    provider's work happens elsewhere."""
    return queue == Queue.GPU


def holds(device: Device) -> Job | None:
    """The live job that holds this device; None when it is free."""
    return Job.objects.filter(pk=device.job_id, lease_token=device.lease_token, state__in=LEASED).first()


def expired_leases(now: datetime) -> list[Job]:
    """Jobs whose worker has been silent for a whole lease and a little more (``REAP_AFTER_SECONDS``)."""
    return list(
        Job.objects.filter(state__in=LEASED, lease_expires_at__lt=now - timedelta(seconds=settings.REAP_AFTER_SECONDS))
    )


def queues_with_waiting_jobs(now: datetime) -> list[str]:
    """Queues in which a job could start now."""
    return sorted(set(Job.objects.filter(state=State.QUEUED, available_at__lte=now).values_list("queue", flat=True)))


def lease_length() -> timedelta:
    """How long a claim holds without a heartbeat."""
    return timedelta(seconds=settings.LEASE_SECONDS)
