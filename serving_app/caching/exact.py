"""Answers to the very same question: in this process's memory, or in Redis where several processes share them."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import OrderedDict
from dataclasses import fields, is_dataclass
from logging import getLogger
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from finetune_engine.serve.cache import ExactCache, cache_key, is_cacheable
from serving_app.caching.kept import Kept

if TYPE_CHECKING:
    from serving_app.gateway.answering import Question

ENTRIES = settings.ANSWER_CACHE_ENTRIES
"""Answers kept of each project."""
SECONDS = settings.ANSWER_CACHE_SECONDS
PROJECTS = 1_000
REMEMBERED = 10_000
REDIS_SECONDS = 0.1
REST_SECONDS = 5.0
_NOT_IN_THE_KEY = ("model", "messages", "stream", "include_usage")
logger = getLogger(__name__)


def exact_key(question: Question) -> str | None:
    """Under which the answer to this question is kept; None when another answer would be as right.

    Every field of the request counts (tools and forms of answer too) but how it is sent back.
    """
    request = question.request
    if not is_cacheable({"temperature": request.temperature, "n": request.n}) or request.top_logprobs is not None:
        return None
    names = [field.name for field in fields(request) if field.name not in _NOT_IN_THE_KEY]
    return cache_key(
        digest=question.model.identity,
        messages=[plain(message) for message in request.messages or ()],
        template_sha256=None,  # part of the model's files, which the identity covers
        parameters={"is_chat": request.is_chat} | {name: plain(getattr(request, name)) for name in names},
        scope=question.actor.project.pk,
    )


def plain(value: Any) -> Any:
    """A value of a request as JSON values, the keys of mappings as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    return value


class Answers(Protocol):
    """Where exact answers are kept. ``told`` remembers under which request an answer was given, so that a bad word
    about that request finds it."""

    @property
    def is_away(self) -> bool:
        """Whether nothing can be told or forgotten just now."""

    async def get(self, project_id: str, key: str) -> Kept | None:
        """The answer kept under ``key``, or None."""

    async def put(self, project_id: str, key: str, kept: Kept) -> None:
        """Keep an answer."""

    async def told(self, project_id: str, key: str, request_id: str) -> None:
        """The answer under ``key`` was given to this request."""

    async def forget(self, project_id: str, *, key: str = "", request_id: str = "") -> str:
        """Drop the answer under ``key`` or behind a request. Its key; empty when there is none."""

    async def clear(self, project_id: str | None = None) -> None:
        """Drop every answer of a project, or all."""


class MemoryAnswers:
    """Answers of this process, each project with room of its own; the project unused longest leaves first."""

    def __init__(self) -> None:
        self._projects: OrderedDict[str, ExactCache[Kept]] = OrderedDict()
        self._told: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def is_away(self) -> bool:
        """Never."""
        return False

    async def get(self, project_id: str, key: str) -> Kept | None:
        """As ``Answers.get``."""
        return self._of(project_id).get(key)

    async def put(self, project_id: str, key: str, kept: Kept) -> None:
        """As ``Answers.put``."""
        self._of(project_id).put(key, kept)

    async def told(self, project_id: str, key: str, request_id: str) -> None:
        """As ``Answers.told``; the last ten thousand are remembered."""
        with self._lock:
            self._told[project_id, request_id] = key
            if len(self._told) > REMEMBERED:
                self._told.popitem(last=False)

    async def forget(self, project_id: str, *, key: str = "", request_id: str = "") -> str:
        """As ``Answers.forget``."""
        with self._lock:
            key = key or self._told.get((project_id, request_id), "")
        return key if key and self._of(project_id).forget(key) else ""

    async def clear(self, project_id: str | None = None) -> None:
        """As ``Answers.clear``."""
        with self._lock:
            chosen = list(self._projects) if project_id is None else [project_id]
            for project in chosen:
                self._projects.pop(project, None)

    def forget_everything(self) -> None:
        """As on the first day."""
        with self._lock:
            self._projects.clear()
            self._told.clear()

    def _of(self, project_id: str) -> ExactCache[Kept]:
        with self._lock:
            cache = self._projects.get(project_id)
            if cache is None:
                cache = self._projects[project_id] = ExactCache(ENTRIES, SECONDS)
                if len(self._projects) > PROJECTS:
                    self._projects.popitem(last=False)
            self._projects.move_to_end(project_id)
            return cache


_GET = """
local body = redis.call('GET', KEYS[1])
if body then redis.call('ZADD', KEYS[2], 'XX', ARGV[1], ARGV[2]) else redis.call('ZREM', KEYS[2], ARGV[2]) end
return body
"""
_PUT = """
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
local surplus = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[5])
if surplus > 0 then
  for _, old in ipairs(redis.call('ZPOPMIN', KEYS[2], surplus)) do redis.call('DEL', ARGV[6] .. old) end
end
return surplus
"""


class RedisAnswers:
    """Answers that all processes share: one value per answer, and a sorted set per project by the time of last use,
    so that the least recently used leaves first. Redis away means that nothing is kept: for five seconds nobody asks
    it again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis] = WeakKeyDictionary()
        self._away_until = 0.0

    @property
    def is_away(self) -> bool:
        """As ``Answers.is_away``."""
        return time.monotonic() < self._away_until

    async def get(self, project_id: str, key: str) -> Kept | None:
        """As ``Answers.get``."""
        body = await self._run(_GET, [_answer(project_id, key), _used(project_id)], [time.time(), key])
        try:
            return Kept.from_dict(json.loads(body)) if body else None
        except (KeyError, TypeError, ValueError):  # written by another version
            return None

    async def put(self, project_id: str, key: str, kept: Kept) -> None:
        """As ``Answers.put``."""
        body = json.dumps(kept.as_dict(), ensure_ascii=False)
        values = [time.time(), key, body, int(SECONDS * 1000), ENTRIES, _answer(project_id, "")]
        await self._run(_PUT, [_answer(project_id, key), _used(project_id)], values)

    async def told(self, project_id: str, key: str, request_id: str) -> None:
        """As ``Answers.told``, for as long as an answer lives."""
        script = "return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])"
        await self._run(script, [_request(project_id, request_id)], [key, int(SECONDS * 1000)])

    async def forget(self, project_id: str, *, key: str = "", request_id: str = "") -> str:
        """As ``Answers.forget``."""
        if not key:
            found = await self._run("return redis.call('GET', KEYS[1])", [_request(project_id, request_id)], [])
            key = found.decode() if found else ""
        script = "redis.call('ZREM', KEYS[2], ARGV[1]) return redis.call('DEL', KEYS[1])"
        return key if key and await self._run(script, [_answer(project_id, key), _used(project_id)], [key]) else ""

    async def clear(self, project_id: str | None = None) -> None:
        """As ``Answers.clear``."""
        script = (
            "for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('DEL', ARGV[1] .. key) end "
            "return redis.call('DEL', KEYS[1])"
        )
        for project in [project_id] if project_id is not None else await self._projects():
            await self._run(script, [_used(project)], [_answer(project, "")])

    async def _projects(self) -> list[str]:
        try:
            found = [key.decode() async for key in self._client().scan_iter(_used("*"))]
        except (RedisError, OSError, TimeoutError):
            return []
        return [key.partition("{")[2].rstrip("}") for key in found]

    async def _run(self, script: str, keys: list[str], values: list[Any]) -> Any:
        if self.is_away:
            return None
        try:
            return await self._client().eval(script, len(keys), *keys, *values)
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + REST_SECONDS
            logger.warning("the answer cache in Redis is away (%s); models are asked instead", type(error).__name__)
            return None

    def _client(self) -> redis.asyncio.Redis:
        """One per event loop: connections belong to the loop that opened them."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = redis.asyncio.Redis.from_url(
                self._url,
                socket_connect_timeout=REDIS_SECONDS,
                socket_timeout=REDIS_SECONDS,
                retry=Retry(NoBackoff(), 0),
                max_connections=256,
            )
        return self._clients[loop]


def _answer(project_id: str, key: str) -> str:
    return f"answers:{{{project_id}}}:{key}"


def _used(project_id: str) -> str:
    return f"answers-used:{{{project_id}}}"


def _request(project_id: str, request_id: str) -> str:
    return f"answers-told:{{{project_id}}}:{request_id}"
