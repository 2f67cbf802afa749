"""The exact cache: the same question to the same model at temperature 0 need not be answered twice."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cachetools import TTLCache

Answer = TypeVar("Answer")

DEFAULT_ENTRIES = 1_000
DEFAULT_TTL_SECONDS = 3_600.0


def cache_key(
    *,
    digest: str,
    messages: Sequence[Mapping[str, str]],
    template_sha256: str | None,
    parameters: Mapping[str, Any],
    scope: str = "",
) -> str:
    """sha256 (hex) over everything that decides an answer.

    ``digest`` names the model's files, ``parameters`` every sampling parameter, ``scope`` the project that
    may see the answer: two projects never share an entry.
    """
    content = {
        "scope": scope,
        "digest": digest,
        "template": template_sha256,
        "messages": [dict(message) for message in messages],
        "parameters": dict(parameters),
    }
    line = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest()


def is_cacheable(parameters: Mapping[str, Any]) -> bool:
    """Only a greedy answer, and one of them, is the same every time."""
    return parameters.get("temperature") == 0 and parameters.get("n", 1) == 1


@dataclass(frozen=True)
class CacheStats:
    """How the cache has done since it was made."""

    hits: int
    misses: int
    entries: int


class ExactCache(Generic[Answer]):
    """At most ``max_entries`` answers, the least recently used leaving first, none older than ``ttl_seconds``.

    Safe to use from several threads. ``timer`` gives seconds that never run backwards.
    """

    def __init__(
        self,
        max_entries: int = DEFAULT_ENTRIES,
        ttl_seconds: float = DEFAULT_TTL_SECONDS,
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._entries: TTLCache[str, Answer] = TTLCache(maxsize=max_entries, ttl=ttl_seconds, timer=timer)
        self._lock = threading.Lock()
        self._hits = 0
        self._misses = 0

    def get(self, key: str) -> Answer | None:
        """The answer kept under ``key``, or None."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                self._misses += 1
            else:
                self._hits += 1
            return found

    def put(self, key: str, answer: Answer) -> None:
        """Keep an answer. One that is already there is replaced and its time starts again."""
        with self._lock:
            self._entries[key] = answer

    def forget(self, key: str) -> bool:
        """Drop one answer (somebody called it wrong). Whether there was one."""
        with self._lock:
            return self._entries.pop(key, None) is not None

    def clear(self) -> None:
        """Drop every answer."""
        with self._lock:
            self._entries.clear()

    def stats(self) -> CacheStats:
        """Hits, misses and present size."""
        with self._lock:
            return CacheStats(hits=self._hits, misses=self._misses, entries=len(self._entries))
