"""How an attempt ends, and how a job does: each exactly once."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F

from finetune_engine.train.failpoints import failpoint
from work_kit import queries
from work_kit.choices import LEASED, OUT_OF_MEMORY, RETRIED, Reason, State, StopAction
from work_kit.kinds import JobKind, kind_of
from work_kit.models import Job, JobEvent
from work_kit.notifications import outbox
from work_kit.operations.leases import Lease, held, let_go, locked, state_event, stop_clock
from work_kit.outages import OUTAGES
from work_kit.queue import ring

logger = logging.getLogger(__name__)

MAX_FRUITLESS_ATTEMPTS = 3
LONGEST_BACKOFF = 36  # times the first one: 10 s grow to 360 s
MAX_SMALLER_ATTEMPTS = 2


def begin_saving(lease: Lease) -> None:
    """The child is done; its results are being stored. A job that people want gone stays ``stopping``. Raises Fenced."""
    failpoint("begin_saving", "before")
    with transaction.atomic():
        job = locked(lease)
        job.phase, job.eta_seconds = "saving", None
        if job.stop_action != StopAction.CANCEL:
            job.state = State.SAVING
        job.save(update_fields=["state", "phase", "eta_seconds"])
        state_event(job)
    failpoint("begin_saving", "after")


def succeed_job(lease: Lease, kind: JobKind, saved: dict[str, Any]) -> State:
    """The job is done, and its result exists: both in one transaction, or neither. Raises Fenced.

    Returns ``cancelled`` when people asked for that before this moment: then there is no result.
    """
    failpoint("succeed", "before")
    with transaction.atomic():
        job = locked(lease)
        if job.stop_action == StopAction.CANCEL:
            return finish(job, State.CANCELLED)
        job.result = kind.commit(job, saved)
        job.phase = "done"
        if job.progress_total:
            job.progress_done = job.progress_total
        finish(job, State.SUCCEEDED)
    failpoint("succeed", "after")
    return State.SUCCEEDED


def end_attempt(lease: Lease, *, reason: str, failure: dict[str, Any]) -> State:
    """The attempt failed. A reason that may pass by itself puts the job back in the queue, with growing pauses
    unless the attempt reached a new checkpoint; three fruitless attempts in a row are a crash loop. Memory that ran out
    is tried again only in smaller pieces. Raises Fenced."""
    failpoint("end_attempt", "before")
    with transaction.atomic():
        state = _end(locked(lease), Reason(reason), failure)
    failpoint("end_attempt", "after")
    return state


def _end(job: Job, reason: Reason, failure: dict[str, Any]) -> State:
    if job.stop_action == StopAction.CANCEL:
        return finish(job, State.CANCELLED)
    if reason in OUT_OF_MEMORY and (sentence := _make_smaller(job)):
        return _again(job, queries.database_now(), f"{reason.label} {sentence}", reason, failure)
    if reason not in RETRIED:
        return _fail(job, reason, failure)
    fruitful = job.checkpointed_in_attempt == job.attempt
    job.fruitless_attempts = 0 if fruitful else job.fruitless_attempts + 1
    if job.fruitless_attempts >= MAX_FRUITLESS_ATTEMPTS:
        return _fail(job, Reason.CRASH_LOOP, failure)
    pause = 0.0 if fruitful else min(2.0 ** (job.fruitless_attempts - 1), LONGEST_BACKOFF) * settings.BACKOFF_SECONDS
    at = queries.database_now() + timedelta(seconds=pause)
    if job.stop_action == StopAction.PAUSE:
        return _pause(job, f"{reason.label} The job is paused, as asked.", reason, failure)
    return _again(job, at, f"{reason.label} Trying again.", reason, failure)


def _make_smaller(job: Job) -> str:
    """Have the job's kind ask for less memory next time; what it changed, in a sentence, or "" when it cannot."""
    times = int(job.params.get("made_smaller") or 0)
    smaller = getattr(kind_of(job.kind), "make_smaller", None)
    if smaller is None or times >= MAX_SMALLER_ATTEMPTS:
        return ""
    sentence = str(smaller(job, times + 1) or "")
    if sentence:
        job.params = job.params | {"made_smaller": times + 1}
    return sentence


def _fail(job: Job, reason: Reason, failure: dict[str, Any]) -> State:
    job.failure_reason, job.failure = reason, failure
    return finish(job, State.FAILED)


def _again(job: Job, at: datetime, message: str, reason: Reason, failure: dict[str, Any]) -> State:
    job.available_at = at
    return _back(job, State.QUEUED, message, reason, failure)


def _pause(job: Job, message: str, reason: Reason, failure: dict[str, Any]) -> State:
    job.stop_action = StopAction.NONE
    stop_clock(job, queries.database_now())
    return _back(job, State.PAUSED, message, reason, failure)


def _back(job: Job, state: State, message: str, reason: Reason, failure: dict[str, Any]) -> State:
    let_go(job, state)
    job.phase = "waiting"
    job.save()
    data = {**failure, "level": "warning", "message": message, "reason": str(reason)}
    if told := failure.get("message"):
        data["cause"] = told
    JobEvent.objects.create(job=job, attempt=job.attempt, kind="log", data=data, at=queries.database_now())
    state_event(job)
    ring(job.queue)
    return state


def release_job(lease: Lease, *, state: State, seconds: float = 0.0, uncounted: bool = False) -> None:
    """Give the job back without a failure: ``queued`` (for another worker, after ``seconds``), ``paused`` or
    ``cancelled``. ``uncounted`` forgets the attempt, for a job that only had to wait. Raises Fenced."""
    failpoint("release", "before")
    with transaction.atomic():
        job = locked(lease)
        if state == State.CANCELLED or job.stop_action == StopAction.CANCEL:
            finish(job, State.CANCELLED)
        else:
            _give_back(job, state, seconds, uncounted=uncounted)
    failpoint("release", "after")


def _give_back(job: Job, state: State, seconds: float, *, uncounted: bool) -> None:
    now = queries.database_now()
    job.available_at = now + timedelta(seconds=seconds)
    let_go(job, state)
    job.phase = "waiting"
    if state == State.PAUSED:
        job.stop_action = StopAction.NONE
        stop_clock(job, now)
    if uncounted and job.attempt == 1:  # it has not begun
        job.started_at = job.deadline_at = None
    job.save()
    if uncounted:
        Job.objects.filter(pk=job.pk).update(attempt=F("attempt") - 1)
    else:
        state_event(job)
    if state == State.QUEUED and seconds == 0:
        ring(job.queue)


def reap_expired_leases() -> list[str]:
    """Take the jobs of silent workers away from them; returns the ids. A job that cannot be ended holds up no other."""
    reaped = []
    for expired in queries.expired_leases(queries.database_now()):
        try:
            if _reap(expired):
                reaped.append(expired.pk)
        except OUTAGES:
            raise
        except Exception:  # its kind failed, or is not installed here: the caretaker is there for all jobs
            logger.exception("job %s: its lease is over, and it could not be taken back", expired.pk)
    return reaped


@transaction.atomic
def _reap(expired: Job) -> bool:
    """Take back this job, unless its lease was renewed or given up since it was read."""
    lease = Lease(expired.pk, expired.attempt, expired.lease_token)
    job = held(lease).filter(lease_expires_at=expired.lease_expires_at).select_for_update().first()
    if job is not None:
        _end(job, Reason.WORKER_LOST, {"message": f"The worker on {job.host} went silent."})
    return job is not None


def mend_times() -> None:
    """No lease and no pause ends later than its longest length from now. One that does was written before the database's
    clock was set back, and would hold its job for as long as the clock was wrong."""
    now = queries.database_now()
    longest = now + 2 * queries.lease_length()
    Job.objects.filter(state__in=LEASED, lease_expires_at__gt=longest).update(lease_expires_at=longest)
    longest = now + timedelta(seconds=2 * LONGEST_BACKOFF * settings.BACKOFF_SECONDS)
    Job.objects.filter(state=State.QUEUED, available_at__gt=longest).update(available_at=now)


def finish(job: Job, state: State) -> State:
    """Put the (locked) job in its last state, whichever way it came there; the only place where that happens."""
    let_go(job, state)
    job.finished_at = queries.database_now()
    job.save()
    if state != State.SUCCEEDED:
        kind_of(job.kind).ended(job)
    outbox.tell(job)
    state_event(job)
    return state
