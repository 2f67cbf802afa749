"""Looks after jobs whose worker went silent and whose bell was lost."""

from __future__ import annotations

import logging
import time

from django.conf import settings
from django.db import DatabaseError

from work_kit import operations, queries
from work_kit.queue import ring_now

logger = logging.getLogger(__name__)

_patient_until = 0.0  # monotonic seconds; set after an outage, when every lease looks expired


def look_after() -> None:
    """One round. After the database was lost, leases get one whole lease's time to be renewed first."""
    global _patient_until
    try:
        if time.monotonic() >= _patient_until:
            for job_id in operations.reap_expired_leases():
                logger.warning("job %s: its worker went silent", job_id)
        for queue in queries.queues_with_waiting_jobs(queries.database_now()):
            ring_now(queue)
    except DatabaseError as error:
        _patient_until = time.monotonic() + settings.LEASE_SECONDS
        logger.warning("the database does not answer (%s)", error)
