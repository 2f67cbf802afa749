"""The one door to Celery. A lost ring costs one round of beat: what there is to do stands in the database."""

from __future__ import annotations

import logging

from django.db import transaction

logger = logging.getLogger(__name__)

RING_EXPIRES_SECONDS = 30
PATIENT_QUEUE = "remote"
"""Its worker has threads, and loading a model is waiting for somebody else; beat's own rounds go elsewhere."""


def ring_for_preparing() -> None:
    """Have the deployments that are on their way looked after, once the current transaction has committed."""
    transaction.on_commit(_ring_now)


def _ring_now() -> None:
    from serving_app.tasks import prepare_deployments

    try:
        prepare_deployments.apply_async(
            queue=PATIENT_QUEUE, expires=RING_EXPIRES_SECONDS, retry=False, ignore_result=True
        )
    except Exception as error:  # whatever the broker's client raises: beat comes by anyway
        logger.warning("could not ring for the deployments on their way (%s); beat will", error)
