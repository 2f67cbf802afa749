"""Celery's side: house-keeping, once a day."""

from __future__ import annotations

from celery import shared_task


@shared_task(name="jobs_app.tasks.keep_house")
def keep_house() -> None:
    """Remove what projects have decided to keep no longer."""
    from jobs_app.operations.retention import apply_retention

    apply_retention()
