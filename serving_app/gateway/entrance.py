"""Who asks, and which model they mean: looked up in the database at most every half second, however many ask.

A key revoked a second ago is therefore refused, and a burst of questions costs one look (the others wait for it).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from logging import getLogger
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from accounts_app.choices import Act
from accounts_app.models import Project
from accounts_app.permissions import Actor, actor_from_key
from finetune_engine.errors import UserError
from serving_app.gateway.database import ask_database
from serving_app.queries import Route, route_of
from serving_app.queries.limits import Limits, Used, key_limits, used_of

FRESH_SECONDS = 0.5
LOOK_AHEAD_AT = 0.8
"""At this part of it the database is asked again, while what was found still counts."""
MOST_ENTRIES = 10_000
LONGEST_KEPT_NAME = 300
"""Names are kept in memory; what is longer is no model's."""

T = TypeVar("T")
logger = getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that may ask, its limits, and what it had used of its tokens when last looked at."""

    actor: Actor
    key_id: str
    limits: Limits
    used: Used


@dataclass(slots=True)
class _Seen(Generic[T]):
    value: T | None
    refusal: UserError | None
    at: float
    is_looked_at: bool = False


class Looks(Generic[T]):
    """What was found in the database in the last half second; refusals count as findings. One look at a time for each key."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, _Seen[T]] = OrderedDict()
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Lock]] = WeakKeyDictionary()
        self._ahead: set[asyncio.Task[None]] = set()

    async def get(self, key: str, look: Callable[[], Awaitable[T]]) -> T:
        """What ``look`` found, now or just before. Raises the UserError that it raised."""
        seen = self._seen.get(key)
        age = time.monotonic() - seen.at if seen is not None else FRESH_SECONDS
        if seen is None or age >= FRESH_SECONDS:
            seen = await self._alone(key, look, FRESH_SECONDS)
        elif age > LOOK_AHEAD_AT * FRESH_SECONDS and not seen.is_looked_at:
            # Under steady traffic nobody waits.
            seen.is_looked_at = True
            task = asyncio.get_running_loop().create_task(self._look_ahead(key, look))
            self._ahead.add(task)
            task.add_done_callback(self._ahead.discard)
        if seen.refusal is not None:
            raise _again(seen.refusal)
        assert seen.value is not None
        return seen.value

    def forget(self) -> None:
        """Look anew the next time."""
        self._seen.clear()

    async def _alone(self, key: str, look: Callable[[], Awaitable[T]], seconds: float) -> _Seen[T]:
        """What was found within the last ``seconds``; where nothing was, one looks and the others wait for it."""
        locks = self._locks.setdefault(asyncio.get_running_loop(), {})
        lock = locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                seen = self._seen.get(key)
                is_fresh = seen is not None and time.monotonic() - seen.at < seconds
                return seen if seen is not None and is_fresh else await self._look(key, look)
        finally:
            if not lock.locked():
                locks.pop(key, None)

    async def _look_ahead(self, key: str, look: Callable[[], Awaitable[T]]) -> None:
        try:
            await self._alone(key, look, LOOK_AHEAD_AT * FRESH_SECONDS)
        except Exception as error:  # whatever the database raises: whoever comes once it counts no more hears of it
            logger.warning("looking ahead failed: %s", error)

    async def _look(self, key: str, look: Callable[[], Awaitable[T]]) -> _Seen[T]:
        begun = time.monotonic()
        try:
            seen: _Seen[T] = _Seen(await look(), None, begun)
        except UserError as refusal:
            seen = _Seen(None, refusal, begun)
        self._seen[key] = seen
        self._seen.move_to_end(key)
        if len(self._seen) > MOST_ENTRIES:
            self._seen.popitem(last=False)
        return seen


_callers: Looks[Caller] = Looks()
_routes: Looks[Route] = Looks()


async def caller_of(authorization: str) -> Caller:
    """Who sends this header. Raises UserError 401 and 403 as ``actor_from_key``."""
    digest = hashlib.sha256(authorization.encode()).hexdigest()  # no key stays in memory
    return await _callers.get(digest, lambda: ask_database(_find_caller, authorization))


async def route_for(project: Project, requested: str) -> Route:
    """The models behind a name in this project. Raises UserError 404."""
    if len(requested) > LONGEST_KEPT_NAME:
        return await ask_database(route_of, project, requested)
    return await _routes.get(f"{project.pk}\n{requested}", lambda: ask_database(route_of, project, requested))


def forget() -> None:
    """Look anew at every key and name the next time."""
    _callers.forget()
    _routes.forget()


def _find_caller(authorization: str) -> Caller:
    actor = actor_from_key(authorization, Act.PREDICT)
    assert actor.api_key is not None
    key_id = actor.api_key.pk
    limits = key_limits(key_id)
    used = used_of([key_id])[key_id] if limits.counts_tokens else Used()
    return Caller(actor, key_id, limits, used)


def _again(refusal: UserError) -> UserError:
    """A fresh one: an exception that is raised a thousand times would carry a thousand tracebacks."""
    return UserError(refusal.code, refusal.sentence, refusal.field, place=refusal.place, status=refusal.status)
