"""The one door to Celery. A lost ring costs one round of beat: what there is to do stands in the database."""

from __future__ import annotations

import logging

from django.db import transaction

logger = logging.getLogger(__name__)

RING_EXPIRES_SECONDS = 30


def ring_for_tidying() -> None:
    """Have the caretaker look for leftovers, once the current transaction has committed."""
    transaction.on_commit(_ring_now)


def _ring_now() -> None:
    from datasets_app.tasks import tidy_data

    try:
        tidy_data.apply_async(queue="cpu", expires=RING_EXPIRES_SECONDS, retry=False, ignore_result=True)
    except Exception as error:  # whatever the broker's client raises: beat comes by anyway
        logger.warning("could not ring for the caretaker (%s); it will look by itself", error)
