"""One feed per watched job: however many pages look at a job, the database is asked once per tick."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import sync_to_async

from work_kit import queries
from work_kit.choices import PHASES
from work_kit.kinds import kind_of
from work_kit.models import Job, JobEvent

TICK_SECONDS = 0.5
_QUEUE_LENGTH = 2000


@dataclass(frozen=True)
class Message:
    """One message of the stream. ``id`` is the cursor to resume from, None for what is not replayed."""

    event: str
    data: dict[str, Any]
    id: int | None = None


@dataclass
class Snapshot:
    """What one look at the database saw."""

    messages: list[Message]
    cursor: int
    is_terminal: bool


def look(job_id: str, cursor: int) -> Snapshot:
    """New events after the cursor, then the job's progress: two queries, and one more where curves are read."""
    job = Job.objects.get(pk=job_id)
    events = queries.events_after(job_id, cursor)
    card = queries.job_card(job)
    messages = [Message(_name(event), _data(event), event.pk) for event in events]
    newest = events[-1].pk if events else cursor
    messages.append(
        Message(
            "progress",
            {
                "done": card.done,
                "total": card.total,
                "unit": card.unit,
                "eta_seconds": card.eta_seconds,
                "percent": card.percent,
            },
        )
    )
    if any(event.kind == "metric" for event in events) and (reading := _reading(job)):
        messages.append(Message("reading", {"sentence": reading}))
    ended = card.is_terminal and len(events) < 1000
    if ended:
        messages.append(Message("phase", {"phase": card.phase, "label": card.label}))
        messages.append(Message("state", {"state": card.state, "label": card.label, "tone": card.tone}))
    return Snapshot(messages, newest, ended)


def _reading(job: Job) -> str:
    """What the curves mean in plain words, from kinds of job that can say."""
    read = getattr(kind_of(job.kind), "reading", None)
    return str(read(job)) if read is not None else ""


def _name(event: JobEvent) -> str:
    return event.kind if event.kind in {"phase", "metric", "state"} else "log"


def _data(event: JobEvent) -> dict[str, Any]:
    data = dict(event.data)
    if event.kind == "phase":
        data["label"] = str(PHASES.get(data.get("phase", ""), data.get("phase", "")))
    elif event.kind == "state":
        data["tone"] = queries.TONES.get(data.get("state", ""), "idle")
    elif event.kind != "metric":
        data = {"level": _level(event), "message": _sentence(event), "at": event.at.isoformat()}
    return data


def _level(event: JobEvent) -> str:
    return {"warn": "warning", "error": "error"}.get(event.kind, str(event.data.get("level", "info")))


def _sentence(event: JobEvent) -> str:
    if message := event.data.get("message"):
        return str(message)
    if event.kind == "checkpoint":
        return f"Checkpoint at step {event.data.get('step')} saved."
    return {"done": "Finished.", "result": "The results are ready."}.get(event.kind, event.kind)


@dataclass
class _Feed:
    cursor: int
    listeners: set[asyncio.Queue[Snapshot]] = field(default_factory=set)
    task: asyncio.Task[None] | None = None


_feeds: dict[tuple[int, str], _Feed] = {}  # by event loop and job


async def follow(job_id: str, cursor: int) -> AsyncIterator[Snapshot]:
    """Everything after the cursor, then what happens, until the job has ended. Yields None-free snapshots;
    the last one has ``is_terminal``."""
    first = await sync_to_async(look)(job_id, cursor)
    while True:
        yield first
        if first.is_terminal:
            return
        if len(first.messages) < 1000:
            break
        first = await sync_to_async(look)(job_id, first.cursor)
    inbox: asyncio.Queue[Snapshot] = asyncio.Queue(_QUEUE_LENGTH)
    key = (id(asyncio.get_running_loop()), job_id)
    feed = _feeds.setdefault(key, _Feed(cursor=first.cursor))
    feed.listeners.add(inbox)
    if feed.task is None:
        feed.task = asyncio.create_task(_pump(key, feed))
    seen = first.cursor
    try:
        if feed.cursor > seen:  # the feed is ahead of this listener: fetch what lies between
            between = await sync_to_async(look)(job_id, seen)
            seen = between.cursor
            yield between
        while True:
            snapshot = await inbox.get()
            fresh = [message for message in snapshot.messages if message.id is None or message.id > seen]
            seen = max(seen, snapshot.cursor)
            yield Snapshot(fresh, seen, snapshot.is_terminal)
            if snapshot.is_terminal:
                return
    finally:
        feed.listeners.discard(inbox)


async def _pump(key: tuple[int, str], feed: _Feed) -> None:
    try:
        while feed.listeners:
            await asyncio.sleep(TICK_SECONDS)
            snapshot = await sync_to_async(look)(key[1], feed.cursor)
            feed.cursor = snapshot.cursor
            for inbox in list(feed.listeners):
                if inbox.full():
                    feed.listeners.discard(inbox)  # a reader that does not read reconnects with its cursor
                else:
                    inbox.put_nowait(snapshot)
            if snapshot.is_terminal:
                return
    finally:
        _feeds.pop(key, None)
