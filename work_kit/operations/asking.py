"""What people ask of jobs."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from accounts_app.operations import record
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from work_kit import queries
from work_kit.choices import LEASED, TERMINAL, State, StopAction
from work_kit.kinds import kind_of
from work_kit.models import Job, JobEvent
from work_kit.operations.ending import finish
from work_kit.operations.leases import state_event, stop_clock
from work_kit.queue import ring


def submit_job(
    *,
    actor: Actor,
    kind: str,
    title: str,
    params: dict[str, Any],
    idempotency_key: str | None = None,
    queue: str | None = None,
    max_seconds: float | None = None,
) -> Job:
    """Put a job in the queue (its kind's, unless another is named). With an ``idempotency_key`` seen before (in this
    project, for this kind), the first job is returned and nothing new happens.

    ``max_seconds`` is the longest it may work, counted from its first start and without its pauses; None: no limit.
    """
    if max_seconds is not None:
        params = params | {"max_seconds": max_seconds}
    try:
        with transaction.atomic():
            job = Job.objects.create(
                project=actor.project,
                kind=kind,
                queue=queue or kind_of(kind).queue,
                title=title[:200],
                params=params,
                idempotency_key=idempotency_key or None,
                created_by=actor.user,
                created_by_key=actor.api_key,
                available_at=queries.database_now(),
            )
            record(actor=actor, project=actor.project, act=f"{kind}.submit", subject=f"job {job.pk}")
            state_event(job)
            ring(job.queue)
    except IntegrityError:
        first = Job.objects.filter(project=actor.project, kind=kind, idempotency_key=idempotency_key).first()
        if not idempotency_key or first is None:
            raise
        return first
    return job


def request_stop(*, actor: Actor, job: Job, action: str) -> Job:
    """Ask a job to end: ``cancel``, ``stop_and_keep`` or ``pause``. A waiting or paused job obeys at once.

    Cancel overrides the other two, and reaches even a job whose results are being stored; the other two leave such a
    job to its end. Raises UserError when the job has ended already.
    """
    if action not in {StopAction.CANCEL, StopAction.STOP_AND_KEEP, StopAction.PAUSE}:
        raise UserError("unknown_action", f"Unknown action {action!r}.", field="action")
    with transaction.atomic():
        held = Job.objects.select_for_update().get(pk=job.pk)
        if held.state in TERMINAL:
            raise UserError("job_has_ended", f"This job has ended already ({State(held.state).label}).", status=409)
        if _obey(held, StopAction(action)):
            record(actor=actor, project=actor.project, act=f"{job.kind}.{action}", subject=f"job {job.pk}")
            ring(job.queue)
    job.refresh_from_db()
    return job


def _obey(job: Job, action: StopAction) -> bool:
    """Change the (locked) job as asked; False when nothing changes."""
    now = queries.database_now()
    if job.state in LEASED:
        if job.stop_action == StopAction.CANCEL or (job.state == State.SAVING and action != StopAction.CANCEL):
            return False
        job.state, job.stop_action, job.stop_requested_at = State.STOPPING, action, now
    elif action == StopAction.CANCEL:
        job.stop_action, job.stop_requested_at = action, now
        finish(job, State.CANCELLED)
        return True
    elif action == StopAction.STOP_AND_KEEP:
        # Nothing runs, so the only way to keep what the job has is to let a worker finish it.
        job.state, job.stop_action, job.available_at = State.QUEUED, action, now
    elif job.state == State.PAUSED:
        return False
    else:
        job.state, job.eta_seconds = State.PAUSED, None
        stop_clock(job, now)
    job.save()
    state_event(job)
    return True


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
        state_event(job)
        ring(job.queue)
    return job


def note_job(*, job: Job, kind: str, data: dict[str, Any]) -> JobEvent:
    """Say something about a job on behalf of the app that submitted it (``log`` or ``warn``), before or after its run."""
    with transaction.atomic():
        # In line with the job's other writers: a reader's cursor must never pass an event that is not committed yet.
        list(Job.objects.select_for_update().filter(pk=job.pk).values_list("pk"))
        return JobEvent.objects.create(job=job, attempt=job.attempt, kind=kind, data=data, at=queries.database_now())
