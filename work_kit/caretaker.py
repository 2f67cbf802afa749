"""Looks after jobs whose worker went silent and whose bell was lost."""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime

from django.conf import settings

from work_kit import leftovers, operations, queries
from work_kit.models import Job
from work_kit.outages import OUTAGES, drop_connection
from work_kit.queue import ring_now

logger = logging.getLogger(__name__)


class Patience:
    """Whether leases may be judged. Not within a whole lease of the moment at which this process began to look, lost the
    database, had no answer for nearly as long as a lease, or saw the database's clock jump: until then the living have
    had no chance to renew theirs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = time.monotonic() + settings.LEASE_SECONDS
        self._seen: tuple[float, datetime] | None = None

    def saw(self, now: datetime) -> bool:
        """The database answered, and this is its time. Returns whether leases may be judged by it."""
        with self._lock:
            here = time.monotonic()
            if self._seen is not None:
                silence = here - self._seen[0]  # a database that hangs says nothing, and takes no renewal either
                leap = (now - self._seen[1]).total_seconds() - silence  # a clock was set, or this machine slept
                if (
                    silence > settings.LEASE_SECONDS - settings.HEARTBEAT_SECONDS
                    or abs(leap) > settings.LEASE_SECONDS / 2
                ):
                    self._until = here + settings.LEASE_SECONDS
            self._seen = here, now
            return here >= self._until

    def lost(self) -> None:
        """The database did not answer."""
        with self._lock:
            self._until = time.monotonic() + settings.LEASE_SECONDS


patience = Patience()


def look_after() -> None:
    """One round: reap silent workers' jobs and ring for those that nobody took."""
    try:
        reap()
        for queue in queries.queues_with_waiting_jobs(queries.database_now()):
            ring_now(queue)
    except OUTAGES as error:
        patience.lost()
        drop_connection()
        logger.warning("the database does not answer (%s)", error)


def reap() -> None:
    """Take jobs away from silent workers, once leases may be judged. Every worker does this too, for the days when
    neither beat nor the broker is there."""
    if not patience.saw(queries.database_now()):
        return
    for job_id in operations.reap_expired_leases():
        logger.warning("job %s: its worker went silent", job_id)
        if (job := Job.objects.filter(pk=job_id).first()) is not None:
            leftovers.tidy(job)
    operations.mend_times()
    operations.forget_lost_workers()
