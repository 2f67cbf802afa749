"""The one door to Celery: rings a bell after the transaction has committed. A lost ring costs one poll."""

from __future__ import annotations

import logging

from django.db import transaction

logger = logging.getLogger(__name__)

RING_EXPIRES_SECONDS = 30


def ring(queue: str) -> None:
    """Tell the workers of this queue that something waits, once the current transaction has committed."""
    transaction.on_commit(lambda: ring_now(queue))


def ring_now(queue: str) -> None:
    """Ring at once. A broker that does not answer is logged and forgiven: the database holds the job."""
    from work_kit.tasks import run_waiting_jobs

    try:
        run_waiting_jobs.apply_async(
            args=[queue], queue=queue, expires=RING_EXPIRES_SECONDS, retry=False, ignore_result=True
        )
    except Exception as error:  # whatever the broker's client raises: the job is safe in the database
        logger.warning("could not ring the %s workers (%s); they will look by themselves", queue, error)
