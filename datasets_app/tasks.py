"""Celery's side: the caretaker of data."""

from __future__ import annotations

from celery import shared_task


@shared_task(name="datasets_app.tasks.tidy_data")
def tidy_data() -> None:
    """Remove what nobody sees any more, and uploads that never became whole."""
    from datasets_app.operations import housekeeping, pending

    housekeeping.tidy_data()
    pending.expire_pending_uploads()
