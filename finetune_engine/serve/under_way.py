"""A request under way in the event loop: what the backend says comes in from other threads, in as few wake-ups as can be."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from finetune_engine.errors import UserError
from finetune_engine.serve.exchange import Backend, CompletionRequest, Delta, Told
from finetune_engine.serve.openai_format import Reply, extension_of


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class Mail:
    """From worker threads to exchanges in the loop. One wake-up carries everything that came before it is heard."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._letters: deque[tuple[Exchange, Told]] = deque()
        self._is_rung = False

    def put(self, exchange: Exchange, told: Told) -> None:
        """From any thread."""
        self._letters.append((exchange, told))
        if not self._is_rung:
            self._is_rung = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop has ended: nobody reads any more
                exchange.cancelled.set()

    def _deliver(self) -> None:
        # Lowered first: a letter that comes now rings again, and at worst that bell finds the box empty.
        self._is_rung = False
        while self._letters:
            exchange, told = self._letters.popleft()
            exchange.take(told)


class Exchange:
    """One request under way. Made and read in the event loop."""

    def __init__(self, request: CompletionRequest, mail: Mail, deadline_seconds: float) -> None:
        self.request = request
        self.reply = Reply.to(request)
        self.started = time.monotonic()
        self.first_token_seconds: float | None = None
        self.cancelled = threading.Event()
        self._mail = mail
        self._fresh: list[Delta] = []
        self._news = asyncio.Event()
        self._is_over = False
        self._problem: Exception | None = None
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(deadline_seconds, self._expire)

    def begin(self, backend: Backend) -> None:
        """Hand the request over."""
        try:
            backend.submit(self.request, self.cancelled, self._tell)
        except Exception as problem:  # the door of the backend: the reader decides what becomes of it
            self.take(problem)

    def take(self, told: Told) -> None:
        """In the loop: the next pieces, the end (None), or the error that is the end."""
        if self._is_over:
            return
        if told is None or isinstance(told, Exception):
            self._problem, self._is_over = told, True
        else:
            self._add(told)
        if self._is_over or self.request.stream:
            self._news.set()

    async def whole(self) -> None:
        """Until ``reply`` is whole. Raises what the backend raised, UserError 504 after the deadline, ClientGone."""
        while not self._is_over:
            await self._news.wait()
            self._news.clear()
        if self._problem is not None:
            raise self._problem

    async def pieces(self) -> list[Delta]:
        """What has come since the last call, one piece for each choice; empty at the end. Raises as ``whole``."""
        while not self._fresh and not self._is_over:
            await self._news.wait()
            self._news.clear()
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            return merged(fresh)
        if self._problem is not None:
            raise self._problem
        return []

    def hang_up(self) -> None:
        """The client has gone: whoever waits for the answer is told at once, and the backend stops."""
        self.take(ClientGone())
        self.give_up()

    def give_up(self) -> None:
        """Tell the backend that nobody waits for the rest (harmless after the end)."""
        self._alarm.cancel()
        self.cancelled.set()

    @property
    def seconds(self) -> float:
        """Since the request came in."""
        return time.monotonic() - self.started

    def extension(self) -> dict[str, Any]:
        """The ``tunesmith`` field, once all pieces are here."""
        return extension_of(self.reply, latency_seconds=self.seconds, first_token_seconds=self.first_token_seconds)

    def _add(self, deltas: Sequence[Delta]) -> None:
        for delta in deltas:
            self.reply.add(delta)
            if delta.usage is None:
                if self.first_token_seconds is None:
                    self.first_token_seconds = self.seconds
                if self.request.stream:
                    self._fresh.append(delta)

    def _tell(self, told: Told) -> None:
        self._mail.put(self, told)

    def _expire(self) -> None:
        self.take(UserError("timeout", "The answer took too long and was given up.", status=504))
        self.cancelled.set()


def merged(deltas: Sequence[Delta]) -> list[Delta]:
    """One delta for each choice, in the order of their first."""
    if len(deltas) == 1:
        return list(deltas)
    found: dict[int, Delta] = {}
    for delta in deltas:
        before = found.get(delta.index)
        if before is not None:
            delta = replace(
                delta,
                text=before.text + delta.text,
                tokens=before.tokens + delta.tokens,
                reasoning=before.reasoning + delta.reasoning,
                tool_calls=before.tool_calls + delta.tool_calls,
                finish_reason=delta.finish_reason or before.finish_reason,
            )
        found[delta.index] = delta
    return list(found.values())
