"""One feed per watched job: however many readers follow a job, the database is asked once per tick.

A feed looks, puts what it saw into bytes once, and appends them to a chain that every reader walks at their own pace. A
reader holds a place in the chain and nothing else. What happened before a reader came is kept for the next one, so that a
thousand readers who come back after a restart cost a few queries and not a thousand.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from django.db import DatabaseError, close_old_connections, connections
from django.db.models import F, FilteredRelation, Q

from web_kit.sse import ServerSentEvent, format_event
from work_kit import queries
from work_kit.choices import PHASES, TERMINAL, State
from work_kit.kinds import kind_of
from work_kit.models import Job, JobEvent

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
HEARTBEAT_SECONDS = 15.0
PAGE = 1000  # events of one look
KEPT = 5000  # events a feed keeps for readers who come back
_FURTHEST_BEHIND = 2000  # looks; a reader who does not read is sent away, and comes back with their cursor
_SHORTEST_PAUSE = 0.05
_OUTAGE_SECONDS = 2.0
# Readers are woken in groups with a breath between them: a thousand at once would keep every page waiting.
_GROUPS = 20
_BREATH_SECONDS = 0.005
_CROWD = 50  # readers, from which on there are breaths
_HEARTBEAT = b": still here\n\n"
_COLUMNS = ("id", "kind", "state", "phase", "progress_done", "progress_total", "progress_unit", "eta_seconds")
_AS_THEY_ARE = frozenset({"phase", "metric", "state", "sample", "checkpoint"})

T = TypeVar("T")


@dataclass(frozen=True)
class Message:
    """One message of the stream. ``id`` is the cursor to resume from, None for what is not replayed."""

    event: str
    data: dict[str, Any]
    id: int | None = None

    def encoded(self) -> bytes:
        """As a server-sent event."""
        return format_event(ServerSentEvent(event=self.event, data=self.data, id=self.id))


@dataclass(frozen=True)
class Look:
    """What one look at the database saw. ``has_more``: there are further events already. ``state`` is the job's."""

    events: list[Message]
    progress: dict[str, Any]
    reading: str
    cursor: int
    state: str
    phase: str
    has_more: bool

    @property
    def is_over(self) -> bool:
        """Whether nothing can follow."""
        return self.state in TERMINAL and not self.has_more


def look(job_id: str, cursor: int) -> Look:
    """The job and its events after the cursor in one query; one more when an evaluation brought something to read.

    Raises Job.DoesNotExist.
    """
    columns = ("id", "kind", "data", "at")
    rows = list(
        Job.objects.filter(pk=job_id)
        .annotate(fresh=FilteredRelation("events", condition=Q(events__id__gt=cursor)))
        .order_by("fresh__id")
        .values(*_COLUMNS, *(f"fresh__{name}" for name in columns))[:PAGE]
    )
    if not rows:
        raise Job.DoesNotExist(job_id)
    job = Job(**{name: rows[0][name] for name in _COLUMNS})
    events = [
        JobEvent(job_id=job_id, **{name: row[f"fresh__{name}"] for name in columns})
        for row in rows
        if row["fresh__id"] is not None
    ]
    return Look(
        events=[message_of(event, job.kind) for event in events],
        progress={
            "done": job.progress_done,
            "total": job.progress_total,
            "unit": job.progress_unit,
            "eta_seconds": None if job.state in TERMINAL else job.eta_seconds,
            "percent": queries.job_percent(job),
        },
        reading=_reading(job) if any(_is_telling(event) for event in events) else "",
        cursor=events[-1].pk if events else cursor,
        state=job.state,
        phase="done" if job.state == State.SUCCEEDED else job.phase,
        has_more=len(events) == PAGE,
    )


def messages_between(job_id: str, after: int, until: int, limit: int) -> list[Message]:
    """Up to ``limit`` messages with ids in ``(after, until]``, oldest first."""
    rows = JobEvent.objects.filter(job_id=job_id, id__gt=after, id__lte=until).order_by("id")
    told = rows.annotate(of_kind=F("job__kind"))[:limit]
    return [message_of(event, event.of_kind) for event in told]


def message_of(event: JobEvent, kind: str) -> Message:
    """A recorded event as the stream tells it; what has no form of its own is a line of the log. ``kind`` is the job's."""
    data = dict(event.data)
    if event.kind == "phase":
        data["label"] = _phase_words(event, kind)
    elif event.kind == "state":
        data["tone"] = queries.TONES.get(data.get("state", ""), "idle")
    elif event.kind == "checkpoint":
        data |= {"level": "info", "message": _sentence(event), "at": _moment(event.at)}
    elif event.kind not in _AS_THEY_ARE:
        data = {"level": _level(event), "message": _sentence(event), "at": _moment(event.at)}
    return Message(event.kind if event.kind in _AS_THEY_ARE else "log", data, event.pk)


def _phase_words(event: JobEvent, kind: str) -> str:
    """The phase in words: as the job's kind says it, where it has words of its own."""
    say = getattr(kind_of(kind), "phase_label", None) if kind else None
    phase = str(event.data.get("phase", ""))
    return str((say(event.job_id, event.data) if say is not None else "") or PHASES.get(phase, phase))


def _is_telling(event: JobEvent) -> bool:
    """Whether the curves may mean something else after this event: a check, or a loss that is no number."""
    return event.kind == "metric" and ("valid_loss" in event.data or isinstance(event.data.get("train_loss"), str))


def _reading(job: Job) -> str:
    """What the curves mean in plain words, from kinds of job that can say."""
    read = getattr(kind_of(job.kind), "reading", None)
    return str(read(job)) if read is not None else ""


def _level(event: JobEvent) -> str:
    return {"warn": "warning", "error": "error"}.get(event.kind, str(event.data.get("level", "info")))


def _sentence(event: JobEvent) -> str:
    if message := event.data.get("message"):
        return str(message)
    if event.kind == "checkpoint":
        return f"Checkpoint at step {event.data.get('step')} saved."
    return {"done": "Finished.", "result": "The results are ready."}.get(event.kind, event.kind)


def _moment(at: datetime) -> str:
    return at.isoformat()


@dataclass(eq=False)
class _Link:
    """A place in a feed's chain. ``after`` (one for each group of readers) is set once ``next`` is there.

    ``end_state``: nothing follows, because the job ended so; empty when the stream broke."""

    number: int = 0
    messages: list[tuple[int | None, bytes]] = field(default_factory=list)
    payload: bytes = b""
    first_id: int = 0
    last_id: int = 0
    end_state: str | None = None
    next: _Link | None = None
    after: list[asyncio.Event] = field(default_factory=lambda: [asyncio.Event() for _ in range(_GROUPS)])

    def unseen(self, seen: int) -> bytes:
        """What a reader has not had yet who has seen this id."""
        return b"".join(encoded for number, encoded in self.messages if number is None or number > seen)


class Feed:
    """What happens in one job, for all its readers in this process. ``since`` is the cursor after which everything is
    kept in ``recent``; ``cursor`` is where the chain has come to."""

    def __init__(self, job_id: str, cursor: int) -> None:
        self.job_id = job_id
        self.since = self.cursor = cursor
        self.recent: deque[tuple[int, bytes]] = deque()
        self.tail = _Link()
        self._unheard: list[_Link] = []
        self.progress: dict[str, Any] = {}
        self.readers = self.entered = 0
        self.task: asyncio.Task[None] | None = None
        self.lock = asyncio.Lock()

    def take(self, seen: Look) -> None:
        """Append a look to the chain, unless it brought nothing."""
        messages: list[tuple[int | None, bytes]] = [(message.id, message.encoded()) for message in seen.events]
        for number, encoded in messages:
            self.recent.append((number or 0, encoded))
        while len(self.recent) > KEPT:
            self.since = self.recent.popleft()[0]
        if seen.progress != self.progress:
            self.progress = seen.progress
            messages.append((None, Message("progress", seen.progress).encoded()))
        if seen.reading:
            messages.append((None, Message("reading", {"sentence": seen.reading}).encoded()))
        if seen.is_over:
            messages += [(None, message.encoded()) for message in _last_words(seen)]
        self.cursor = seen.cursor
        if messages:
            self.append(messages, end_state=seen.state if seen.is_over else None)

    def append(self, messages: list[tuple[int | None, bytes]], *, end_state: str | None = None) -> None:
        """One more link, which ``wake`` tells of."""
        ids = [number for number, _encoded in messages if number is not None]
        link = _Link(
            number=self.tail.number + 1,
            messages=messages,
            payload=b"".join(encoded for _number, encoded in messages),
            first_id=ids[0] if ids else self.cursor + 1,
            last_id=ids[-1] if ids else 0,
            end_state=end_state,
        )
        before, self.tail = self.tail, link
        before.next = link
        self._unheard.append(before)

    async def wake(self) -> None:
        """Tell every reader of the new links."""
        unheard, self._unheard = self._unheard, []
        for group in range(_GROUPS):
            for link in unheard:
                link.after[group].set()
            if unheard and self.readers > _CROWD:
                await asyncio.sleep(_BREATH_SECONDS)

    async def backlog(self, cursor: int) -> tuple[bytes, int]:
        """What follows the cursor, up to a page of it where it is not kept: ``(bytes, the cursor after them)``.

        What one reader makes us fetch is kept for the next, as long as there is room.
        """
        async with self.lock:
            if cursor < (since := self.since):
                older = await _ask(messages_between, self.job_id, cursor, since, PAGE)
                pairs = [(message.id or 0, message.encoded()) for message in older]
                is_whole = len(pairs) < PAGE
                if not is_whole or self.since != since or len(self.recent) + len(pairs) > KEPT:
                    return b"".join(encoded for _id, encoded in pairs), since if is_whole else pairs[-1][0]
                self.recent.extendleft(reversed(pairs))
                self.since = cursor
            kept = b"".join(encoded for number, encoded in self.recent if number > cursor)
            return kept, self.cursor


def _last_words(seen: Look) -> list[Message]:
    phase = Message("phase", {"phase": seen.phase, "label": str(PHASES.get(seen.phase, seen.phase.capitalize()))})
    label, tone = str(State(seen.state).label), queries.TONES[seen.state]
    return [phase, Message("state", {"state": seen.state, "label": label, "tone": tone})]


_feeds: dict[tuple[int, str], Feed] = {}  # by event loop and job
# One thread with one connection for all feeds of the process: a feed is a reader, and readers share.
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="job-streams")


async def _ask(read: Callable[..., T], *arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(_thread, read, *arguments)


async def follow(job_id: str, cursor: int, *, url: str = "") -> AsyncGenerator[bytes, None]:
    """Everything after the cursor, then what happens, as server-sent events, until the job has ended.

    The last message is ``end {state, url}``. A reader who falls far behind is sent away without it, to come back.
    """
    key = (id(asyncio.get_running_loop()), job_id)
    feed = _feeds.get(key)
    if feed is None:
        feed = _feeds[key] = Feed(job_id, cursor)
        feed.task = asyncio.create_task(_pump(key, feed))
    feed.readers += 1
    feed.entered += 1
    group = feed.entered % _GROUPS
    try:
        place, until, seen = feed.tail, feed.cursor, cursor
        if feed.progress:
            yield Message("progress", feed.progress).encoded()
        while seen < until:
            missed, seen = await feed.backlog(seen)
            if missed:
                yield missed
        while place.end_state is None and feed.tail.number - place.number <= _FURTHEST_BEHIND:
            await place.after[group].wait()
            assert place.next is not None
            place = place.next
            payload = place.payload if place.first_id > seen else place.unseen(seen)
            seen = max(seen, place.last_id)
            if place.end_state:
                payload += Message("end", {"state": place.end_state, "url": url}).encoded()
            if payload:
                yield payload
    finally:
        feed.readers -= 1


async def _pump(key: tuple[int, str], feed: Feed) -> None:
    """Look once per tick for as long as somebody reads and the job goes on."""
    clock = asyncio.get_running_loop()
    spoken_at = clock.time()
    try:
        while feed.readers:
            begun = clock.time()
            try:
                seen = await _ask(_look_afresh, feed.job_id, feed.cursor)
            except Job.DoesNotExist:
                feed.append([], end_state="deleted")
                await feed.wake()
                return
            except DatabaseError as error:
                logger.warning("job %s: its stream waits for the database (%s)", feed.job_id, error)
                await asyncio.sleep(_OUTAGE_SECONDS)
                continue
            number = feed.tail.number
            feed.take(seen)
            if feed.tail.number != number:
                spoken_at = clock.time()
            elif clock.time() - spoken_at >= HEARTBEAT_SECONDS:
                feed.append([(None, _HEARTBEAT)])
                spoken_at = clock.time()
            await feed.wake()
            if seen.is_over:
                return
            if not seen.has_more:
                await asyncio.sleep(max(_SHORTEST_PAUSE, begun + TICK_SECONDS - clock.time()))
    except Exception:
        logger.exception("job %s: its stream broke; readers come back with their cursors", feed.job_id)
        feed.append([], end_state="")
        await feed.wake()
    finally:
        _feeds.pop(key, None)
        if not _feeds:
            await _ask(connections.close_all)


def _look_afresh(job_id: str, cursor: int) -> Look:
    """A look that leaves no broken connection behind; a healthy one is kept from tick to tick."""
    try:
        return look(job_id, cursor)
    except DatabaseError:
        close_old_connections()
        raise
