"""Everything that changes a job. Two groups: what people ask for, and what the worker that holds a lease records."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import F

from accounts_app.operations import record
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from finetune_engine.events import Event
from work_kit import queries
from work_kit.choices import LEASED, RETRIED, Reason, State, StopAction
from work_kit.kinds import JobKind, kind_of
from work_kit.models import Device, Job, JobEvent, Worker
from work_kit.queue import ring

MAX_FRUITLESS_ATTEMPTS = 3
FIRST_BACKOFF_SECONDS = 10
LONGEST_BACKOFF_SECONDS = 360


class Fenced(Exception):
    """Somebody else holds the job now: stop, and write nothing more."""


@dataclass(frozen=True)
class Lease:
    """The right to work on one job, until it expires or is taken away."""

    job_id: str
    attempt: int
    token: str


# --- what people ask for -------------------------------------------------------------------------------------


def submit_job(
    *, actor: Actor, kind: str, title: str, params: dict[str, Any], idempotency_key: str | None = None
) -> Job:
    """Put a job in the queue. With an ``idempotency_key`` seen before (in this project, for this kind), the first
    job is returned and nothing new happens."""
    job_kind = kind_of(kind)
    try:
        with transaction.atomic():
            job = Job.objects.create(
                project=actor.project,
                kind=kind,
                queue=job_kind.queue,
                title=title[:200],
                params=params,
                idempotency_key=idempotency_key or None,
                created_by=actor.user,
                created_by_key=actor.api_key,
                available_at=queries.database_now(),
            )
            record(actor=actor, project=actor.project, act=f"{kind}.submit", subject=f"job {job.pk}")
            _state_event(job)
            ring(job.queue)
    except IntegrityError:
        first = Job.objects.filter(project=actor.project, kind=kind, idempotency_key=idempotency_key).first()
        if not idempotency_key or first is None:
            raise
        return first
    return job


def request_stop(*, actor: Actor, job: Job, action: str) -> Job:
    """Ask a job to end: ``cancel``, ``stop_and_keep`` or ``pause``. A waiting or paused job obeys at once.

    Cancel overrides the other two. Raises UserError when the job has ended already.
    """
    if action not in {StopAction.CANCEL, StopAction.STOP_AND_KEEP, StopAction.PAUSE}:
        raise UserError("unknown_action", f"Unknown action {action!r}.", field="action")
    with transaction.atomic():
        now = queries.database_now()
        waiting = Job.objects.filter(pk=job.pk, state__in=[State.QUEUED, State.PAUSED])
        if action == StopAction.PAUSE:
            moved = waiting.filter(state=State.QUEUED).update(state=State.PAUSED, eta_seconds=None)
        elif action == StopAction.STOP_AND_KEEP:
            # Nothing runs, so the only way to keep what a paused job has is to let a worker finish it.
            moved = waiting.update(state=State.QUEUED, stop_action=action, available_at=now)
        else:
            moved = waiting.update(state=State.CANCELLED, stop_action=action, finished_at=now, eta_seconds=None)
            if moved:
                kind_of(job.kind).ended(Job.objects.get(pk=job.pk))
        if not moved:
            running = Job.objects.filter(pk=job.pk, state__in=LEASED).exclude(stop_action=StopAction.CANCEL)
            moved = running.exclude(state=State.SAVING).update(
                stop_action=action, stop_requested_at=now, state=State.STOPPING
            )
        if moved:
            job.refresh_from_db()
            record(actor=actor, project=actor.project, act=f"{job.kind}.{action}", subject=f"job {job.pk}")
            _state_event(job)
            ring(job.queue)
    job.refresh_from_db()
    if not moved and job.state not in LEASED:
        raise UserError("job_has_ended", f"This job has ended already ({State(job.state).label}).", status=409)
    return job


def resume_job(*, actor: Actor, job: Job) -> Job:
    """Put a paused job back in the queue. Raises UserError when it is not paused."""
    with transaction.atomic():
        moved = Job.objects.filter(pk=job.pk, state=State.PAUSED).update(
            state=State.QUEUED, stop_action=StopAction.NONE, stop_requested_at=None, available_at=queries.database_now()
        )
        job.refresh_from_db()
        if not moved:
            raise UserError("job_not_paused", f"This job is not paused ({State(job.state).label}).", status=409)
        record(actor=actor, project=actor.project, act=f"{job.kind}.resume", subject=f"job {job.pk}")
        _state_event(job)
        ring(job.queue)
    return job


# --- what the holder of a lease records ----------------------------------------------------------------------


def claim_job(*, queue: str, host: str, device: str) -> Lease | None:
    """Take the next waiting job of this queue, or None. Two workers never get the same one: the UPDATE holds
    only where the job is still waiting."""
    now = queries.database_now()
    for job in queries.claimable_jobs(queue, now):
        lease = Lease(job_id=job.pk, attempt=job.attempt + 1, token=secrets.token_hex(16))
        with transaction.atomic():
            rows = Job.objects.filter(pk=job.pk, state=State.QUEUED, available_at__lte=now, attempt=job.attempt)
            if connection.features.has_select_for_update_skip_locked:
                rows = Job.objects.filter(
                    pk__in=list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
                )
            moved = rows.update(
                state=State.PREPARING,
                phase="starting",
                attempt=F("attempt") + 1,
                lease_token=lease.token,
                lease_expires_at=now + queries.lease_length(),
                host=host,
                device=device,
                started_at=job.started_at or now,
                eta_seconds=None,
            )
            if moved:
                Device.objects.filter(host=host, name=device).update(job_id=job.pk, lease_token=lease.token)
                _state_event(Job.objects.get(pk=job.pk))
                return lease
    return None


def renew_lease(lease: Lease) -> str:
    """Push the lease's end away; returns what people asked of the job meanwhile. Raises Fenced."""
    now = queries.database_now()
    if not _held(lease).update(lease_expires_at=now + queries.lease_length()):
        raise Fenced(lease.job_id)
    return str(Job.objects.values_list("stop_action", flat=True).get(pk=lease.job_id))


def record_events(lease: Lease, events: Iterable[tuple[int, Event]], kind: JobKind, workdir: Any) -> None:
    """Store what the child said, in one transaction. Each item is (byte offset in the attempt's file, event); an
    offset that is stored already is passed over. Raises Fenced."""
    items = list(events)
    if not items:
        return
    with transaction.atomic():
        job = _locked(lease)
        seen = set(
            JobEvent.objects.filter(job_id=lease.job_id, attempt=lease.attempt, seq__gte=items[0][0]).values_list(
                "seq", flat=True
            )
        )
        rows, before = [], job.state
        for seq, event in items:
            if seq in seen:
                continue
            _apply(job, event, lease)
            kind.on_event(job, event, workdir)
            if event.kind != "progress":
                rows.append(_row(lease, seq, event))
        JobEvent.objects.bulk_create(rows)
        fields = ["state", "phase", "progress_done", "progress_total", "progress_unit", "eta_seconds"]
        job.save(update_fields=[*fields, "checkpointed_in_attempt"])
        if job.state != before:
            _state_event(job)


def _row(lease: Lease, seq: int, event: Event) -> JobEvent:
    at = datetime.fromtimestamp(event.at, tz=UTC)
    return JobEvent(job_id=lease.job_id, attempt=lease.attempt, seq=seq, kind=event.kind, data=event.data, at=at)


def _apply(job: Job, event: Event, lease: Lease) -> None:
    """What an event means for the job's own columns."""
    data = event.data
    if event.kind == "phase":
        job.phase = str(data.get("phase", job.phase))[:30]
        job.progress_done, job.progress_total, job.progress_unit, job.eta_seconds = 0, None, "", None
        if job.phase in {"training", "evaluating"} and job.state == State.PREPARING:
            job.state = State.RUNNING
    elif event.kind == "progress":
        job.progress_done = int(data.get("done") or 0)
        job.progress_total = int(data["total"]) if data.get("total") else None
        job.progress_unit = str(data.get("unit", ""))[:20]
        eta = data.get("eta_seconds")
        job.eta_seconds = float(eta) if isinstance(eta, int | float) else None
        if job.state == State.PREPARING:
            job.state = State.RUNNING
    elif event.kind == "checkpoint":
        job.checkpointed_in_attempt = lease.attempt


def begin_saving(lease: Lease) -> None:
    """The child is done; its results are being stored. Raises Fenced."""
    with transaction.atomic():
        job = _locked(lease)
        job.state, job.phase, job.eta_seconds = State.SAVING, "saving", None
        job.save(update_fields=["state", "phase", "eta_seconds"])
        _state_event(job)


def succeed_job(lease: Lease, kind: JobKind, saved: dict[str, Any]) -> None:
    """The job is done, and its result exists: both in one transaction, or neither. Raises Fenced."""
    with transaction.atomic():
        job = _locked(lease)
        job.result = kind.commit(job, saved)
        _release(job, State.SUCCEEDED)
        job.phase = "done"
        if job.progress_total:
            job.progress_done = job.progress_total
        job.save()
        _state_event(job)


def end_attempt(lease: Lease, *, reason: str, failure: dict[str, Any]) -> State:
    """The attempt failed. A reason that may pass by itself puts the job back in the queue, with growing pauses
    unless the attempt reached a new checkpoint; three fruitless attempts in a row are a crash loop. Raises Fenced."""
    with transaction.atomic():
        return _end_attempt(_locked(lease), reason, failure)


def _end_attempt(job: Job, reason: str, failure: dict[str, Any]) -> State:
    kind = kind_of(job.kind)
    now = queries.database_now()
    if job.stop_action == StopAction.CANCEL:
        return _finish(job, kind, State.CANCELLED)
    if reason not in RETRIED:
        job.failure_reason, job.failure = Reason(reason), failure
        return _finish(job, kind, State.FAILED)
    fruitful = job.checkpointed_in_attempt == job.attempt
    job.fruitless_attempts = 0 if fruitful else job.fruitless_attempts + 1
    if job.fruitless_attempts >= MAX_FRUITLESS_ATTEMPTS:
        job.failure_reason, job.failure = Reason.CRASH_LOOP, failure
        return _finish(job, kind, State.FAILED)
    pause = 0 if fruitful else FIRST_BACKOFF_SECONDS * 2 ** (job.fruitless_attempts - 1)
    job.available_at = now + timedelta(seconds=min(pause, LONGEST_BACKOFF_SECONDS))
    _release(job, State.QUEUED)
    job.save()
    JobEvent.objects.create(
        job=job,
        attempt=job.attempt,
        kind="log",
        data={"level": "warning", "message": f"{Reason(reason).label} Trying again.", "reason": reason, **failure},
        at=now,
    )
    _state_event(job)
    ring(job.queue)
    return State.QUEUED


def release_job(lease: Lease, *, state: State, seconds: float = 0.0, uncounted: bool = False) -> None:
    """Give the job back without a failure: ``queued`` (for another worker, after ``seconds``), ``paused`` or
    ``cancelled``. ``uncounted`` forgets the attempt, for a job that only had to wait. Raises Fenced."""
    with transaction.atomic():
        job = _locked(lease)
        if state == State.CANCELLED:
            _finish(job, kind_of(job.kind), state)
            return
        if state == State.QUEUED and job.stop_action == StopAction.CANCEL:
            _finish(job, kind_of(job.kind), State.CANCELLED)
            return
        job.available_at = queries.database_now() + timedelta(seconds=seconds)
        _release(job, state)
        job.phase = "waiting"
        if state == State.PAUSED:
            job.stop_action = StopAction.NONE
        job.save()
        if uncounted:
            Job.objects.filter(pk=job.pk).update(attempt=F("attempt") - 1)
        else:
            _state_event(job)
        if state == State.QUEUED and seconds == 0:
            ring(job.queue)


def note_job(*, job: Job, kind: str, data: dict[str, Any]) -> JobEvent:
    """Say something about a job on behalf of the app that submitted it (``log`` or ``warn``), before or after its run."""
    return JobEvent.objects.create(job=job, attempt=job.attempt, kind=kind, data=data, at=queries.database_now())


def reap_expired_leases() -> list[str]:
    """Take the jobs of silent workers away from them; returns the ids. Beat calls this every few seconds."""
    reaped = []
    for expired in queries.expired_leases(queries.database_now()):
        lease = Lease(expired.pk, expired.attempt, expired.lease_token)
        with transaction.atomic():
            job = (
                Job.objects.select_for_update()
                .filter(
                    pk=lease.job_id,
                    attempt=lease.attempt,
                    lease_token=lease.token,
                    lease_expires_at=expired.lease_expires_at,
                    state__in=LEASED,
                )
                .first()
            )
            if job is None:
                continue
            _end_attempt(job, Reason.WORKER_LOST, {"message": f"The worker on {job.host} went silent."})
            reaped.append(lease.job_id)
    return reaped


def beat_worker(*, name: str, host: str, queue: str, device: str, pid: int) -> None:
    """A worker says that it is there."""
    now = queries.database_now()
    values = {"host": host, "queue": queue, "device": device, "pid": pid, "heartbeat_at": now}
    Worker.objects.update_or_create(name=name, defaults=values, create_defaults={**values, "started_at": now})
    Device.objects.update_or_create(host=host, name=device, defaults={"seen_at": now})


def forget_worker(*, name: str) -> None:
    """A worker says goodbye."""
    Worker.objects.filter(name=name).delete()


def _held(lease: Lease) -> Any:
    return Job.objects.filter(pk=lease.job_id, attempt=lease.attempt, lease_token=lease.token, state__in=LEASED)


def _locked(lease: Lease) -> Job:
    job: Job | None = _held(lease).select_for_update().first()
    if job is None:
        raise Fenced(lease.job_id)
    return job


def _release(job: Job, state: State) -> None:
    Device.objects.filter(job_id=job.pk, lease_token=job.lease_token).update(job=None, lease_token="")
    job.state, job.lease_token, job.lease_expires_at, job.eta_seconds = state, "", None, None
    if state in {State.SUCCEEDED, State.FAILED, State.CANCELLED}:
        job.finished_at = queries.database_now()


def _finish(job: Job, kind: JobKind, state: State) -> State:
    _release(job, state)
    job.save()
    kind.ended(job)
    _state_event(job)
    return state


def _state_event(job: Job) -> None:
    data = {"state": job.state, "label": str(State(job.state).label)}
    if job.failure_reason:
        data |= {"reason": job.failure_reason, "message": str(job.failure.get("message", ""))}
    JobEvent.objects.create(job=job, attempt=job.attempt, kind="state", data=data, at=queries.database_now())
