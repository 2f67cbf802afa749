"""What the child says becomes events, and the job's own columns."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from django.db import transaction

from finetune_engine.events import Event
from finetune_engine.train.failpoints import failpoint
from work_kit.choices import State
from work_kit.kinds import JobKind
from work_kit.models import Job, JobEvent
from work_kit.operations.leases import Lease, locked, state_event


def record_events(
    lease: Lease, events: Iterable[tuple[int, Event]], kind: JobKind, workdir: Path, *, of_attempt: int | None = None
) -> None:
    """Store what the child said, in one transaction. Each item is (byte offset in the attempt's file, event); an
    offset that is stored already is passed over. Raises Fenced.

    ``of_attempt`` names an earlier attempt whose worker died before it could store them; they count for that one.
    """
    items = list(events)
    if not items:
        return
    failpoint("events", "before")
    with transaction.atomic():
        job = locked(lease)
        before, fields = (
            job.state,
            ["state", "phase", "progress_done", "progress_total", "progress_unit", "eta_seconds"],
        )
        job.attempt = attempt = of_attempt or lease.attempt  # only in memory: what the kind writes belongs to it
        rows = []
        for seq, event in _unseen(job, attempt, items):
            if of_attempt is None:
                _apply(job, event)
            elif event.kind == "checkpoint":
                job.fruitless_attempts = 0
            kind.on_event(job, event, workdir)
            if event.kind != "progress":
                rows.append(_row(job, attempt, seq, event))
        JobEvent.objects.bulk_create(rows)
        job.save(update_fields=[*fields, "checkpointed_in_attempt", "fruitless_attempts"])
        if job.state != before:
            state_event(job)
    failpoint("events", "after")


def _unseen(job: Job, attempt: int, items: list[tuple[int, Event]]) -> list[tuple[int, Event]]:
    stored = JobEvent.objects.filter(job=job, attempt=attempt, seq__gte=items[0][0])
    seen = set(stored.values_list("seq", flat=True))
    return [item for item in items if item[0] not in seen]


def _row(job: Job, attempt: int, seq: int, event: Event) -> JobEvent:
    at = datetime.fromtimestamp(event.at, tz=UTC)
    return JobEvent(job=job, attempt=attempt, seq=seq, kind=event.kind, data=event.data, at=at)


def _apply(job: Job, event: Event) -> None:
    """What an event means for the job's own columns."""
    data = event.data
    if event.kind == "phase":
        job.phase = str(data.get("phase", job.phase))[:30]
        job.progress_done, job.progress_total, job.progress_unit, job.eta_seconds = 0, None, "", None
        if job.phase in {"training", "evaluating"} and job.state == State.PREPARING:
            job.state = State.RUNNING
    elif event.kind == "progress":
        job.progress_done = int(data.get("done") or 0)
        job.progress_total = int(data["total"]) if data.get("total") else None
        job.progress_unit = str(data.get("unit", ""))[:20]
        eta = data.get("eta_seconds")
        job.eta_seconds = float(eta) if isinstance(eta, int | float) else None
        if job.state == State.PREPARING:
            job.state = State.RUNNING
    elif event.kind == "checkpoint":
        job.checkpointed_in_attempt = job.attempt
