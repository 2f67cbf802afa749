"""The right to work on a job, and what guards every write that is made under it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from work_kit import queries
from work_kit.choices import LEASED, State
from work_kit.models import Device, Job, JobEvent


class Fenced(Exception):
    """Somebody else holds the job now: stop, and write nothing more."""


@dataclass(frozen=True)
class Lease:
    """The right to work on one job, until it expires or is taken away."""

    job_id: str
    attempt: int
    token: str


def held(lease: Lease) -> QuerySet[Job]:
    """The job, if this lease still holds it; else nothing. Every write of a worker goes through here."""
    return Job.objects.filter(pk=lease.job_id, attempt=lease.attempt, lease_token=lease.token, state__in=LEASED)


def locked(lease: Lease) -> Job:
    """The job, locked until the transaction ends. Raises Fenced."""
    job = held(lease).select_for_update().first()
    if job is None:
        raise Fenced(lease.job_id)
    return job


def still_holds(job: Job) -> bool:
    """Whether the lease under which this job was read holds it still; if so, the job is locked until the transaction ends.
    For what a kind of job writes outside the operations here."""
    rows = Job.objects.select_for_update().filter(pk=job.pk, lease_token=job.lease_token, state__in=LEASED)
    return job.lease_token != "" and bool(rows.values_list("pk"))


def let_go(job: Job, state: State) -> None:
    """Take lease and device from the job and put it in ``state``; the caller saves it."""
    Device.objects.filter(job_id=job.pk, lease_token=job.lease_token).update(job=None, lease_token="")
    job.state, job.lease_token, job.lease_expires_at, job.eta_seconds = state, "", None, None


def stop_clock(job: Job, now: datetime) -> None:
    """Keep for later what is left of the time that the (locked) job is allowed: a pause costs none of it. The caller
    saves the job."""
    if job.deadline_at is not None:
        left = max(1.0, (job.deadline_at - now).total_seconds())
        job.params, job.deadline_at = job.params | {"seconds_left": left}, None


def state_event(job: Job) -> None:
    """Tell the readers of the job where it stands now."""
    data = {"state": job.state, "label": str(State(job.state).label)}
    if job.failure_reason:
        data |= {"reason": job.failure_reason, "message": str(job.failure.get("message", ""))}
    JobEvent.objects.create(job=job, attempt=job.attempt, kind="state", data=data, at=queries.database_now())
