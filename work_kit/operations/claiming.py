"""Taking a job, and keeping it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import F

from finetune_engine.train.failpoints import failpoint
from work_kit import queries
from work_kit.choices import LEASED, State
from work_kit.models import Device, Job
from work_kit.operations.leases import Fenced, Lease, held, state_event


@dataclass(frozen=True)
class Orders:
    """What a heartbeat brings back: a ``StopAction`` ("" for none), and whether the job's time is over."""

    stop_action: str = ""
    is_late: bool = False


def claim_job(*, queue: str, host: str, device: str, token: str = "") -> Lease | None:
    """Take the fairest waiting job of this queue, or None. Two workers never get the same one, and a job that computes
    (``queries.uses_device``) is only taken while no other live job holds this worker's device.

    ``token`` becomes the lease's secret; a caller who may lose the answer chooses it and asks ``claimed_with``.
    """
    token = token or secrets.token_hex(16)
    failpoint("claim", "before")
    with transaction.atomic():
        now = queries.database_now()
        if queries.uses_device(queue) and not _device_is_free(host, device):
            return None
        lease = next(
            (lease for job in queries.claimable_jobs(queue, now) if (lease := _take(job, now, host, device, token))),
            None,
        )
    failpoint("claim", "after")
    return lease


def claimed_with(token: str) -> Lease | None:
    """The lease that a claim with this token made, when the database's answer to it was lost; None when it made none."""
    job = Job.objects.filter(lease_token=token, state__in=LEASED).first()
    return Lease(job.pk, job.attempt, token) if job is not None else None


def renew_lease(lease: Lease) -> Orders:
    """Push the lease's end away; returns what people asked of the job meanwhile. Raises Fenced."""
    failpoint("lease", "before")
    now = queries.database_now()
    if not held(lease).update(lease_expires_at=now + queries.lease_length()):
        raise Fenced(lease.job_id)
    failpoint("lease", "after")
    return orders(lease, now)


def orders(lease: Lease, now: datetime | None = None) -> Orders:
    """What people asked of the job, without renewing the lease. Raises Fenced."""
    told = held(lease).values_list("stop_action", "deadline_at").first()
    if told is None:
        raise Fenced(lease.job_id)
    stop_action, deadline = told
    return Orders(stop_action, deadline is not None and deadline <= (now or queries.database_now()))


def _take(job: Job, now: datetime, host: str, device: str, token: str) -> Lease | None:
    """Claim this one by a guarded UPDATE; None when somebody else was first or is at it now."""
    rows = Job.objects.filter(pk=job.pk, state=State.QUEUED, available_at__lte=now, attempt=job.attempt)
    if connection.features.has_select_for_update_skip_locked:  # SQLite's transactions begin with its one write lock
        rows = Job.objects.filter(pk__in=list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True)))
    moved = rows.update(
        state=State.PREPARING,
        phase="starting",
        attempt=F("attempt") + 1,
        lease_token=token,
        lease_expires_at=now + queries.lease_length(),
        host=host,
        device=device,
        started_at=job.started_at or now,
        deadline_at=job.deadline_at or _deadline(job, now),
        eta_seconds=None,
    )
    if not moved:
        return None
    if queries.uses_device(job.queue):
        Device.objects.filter(host=host, name=device).update(job_id=job.pk, lease_token=token)
    state_event(Job.objects.get(pk=job.pk))
    return Lease(job_id=job.pk, attempt=job.attempt + 1, token=token)


def _deadline(job: Job, now: datetime) -> datetime | None:
    """When the time that the job is allowed ends, or what a pause left of it; None without a limit."""
    allowed = job.params.get("seconds_left") or job.params.get("max_seconds")
    return now + timedelta(seconds=float(allowed)) if allowed else None


def _device_is_free(host: str, name: str) -> bool:
    """Whether no live job holds the device; locks its row, so that two workers of one device take turns."""
    Device.objects.get_or_create(host=host, name=name)
    device = Device.objects.select_for_update().get(host=host, name=name)
    return not queries.holds(device)
