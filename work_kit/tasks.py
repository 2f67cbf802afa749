"""Celery's side: a bell and a caretaker. Nothing that matters travels in a message."""

from __future__ import annotations

from celery import shared_task


@shared_task(name="work_kit.tasks.run_waiting_jobs")
def run_waiting_jobs(queue: str) -> None:
    """Run waiting jobs of this queue until none is left."""
    from work_kit.supervisor import run_waiting

    run_waiting(queue)


@shared_task(name="work_kit.tasks.look_after_jobs")
def look_after_jobs() -> None:
    """Reap silent workers' jobs and ring again for those that nobody took."""
    from work_kit.caretaker import look_after

    look_after()
