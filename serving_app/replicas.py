"""Where a question goes: to the fresh replica with the fewest questions under way; among equals, in turn.

One pool per event loop. A replica that cannot be reached is left alone for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import httpx

from finetune_engine.errors import UserError
from serving_app.choices import STARTING
from serving_app.database import ask_database
from serving_app.queries import fresh_replicas

LOOK_AGAIN_SECONDS = 1.0
EJECTED_SECONDS = 10.0
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 600.0
UNIX_PREFIX = "unix:"


class NoReplica(UserError):
    """Nobody is there to answer: 503 with Retry-After."""

    retry_after = 3

    def __init__(self) -> None:
        super().__init__("model_server_starting", STARTING, status=503)


@dataclass(eq=False)
class Channel:
    """The connection to one replica and what is going on there."""

    address: str
    client: httpx.AsyncClient
    outstanding: int = 0
    ejected_until: float = 0.0
    asked_at: float = 0.0


def open_client(address: str) -> httpx.AsyncClient:
    """A client for ``unix:/path`` or an ``http://`` URL. Answers may take long, connecting may not."""
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
    if address.startswith(UNIX_PREFIX):
        transport = httpx.AsyncHTTPTransport(uds=address.removeprefix(UNIX_PREFIX), limits=limits)
        return httpx.AsyncClient(transport=transport, base_url="http://inference", timeout=timeout)
    return httpx.AsyncClient(base_url=address, timeout=timeout, limits=limits, trust_env=False)


@dataclass
class ReplicaPool:
    """Knows the replicas and shares the questions out among them."""

    channels: dict[str, Channel] = field(default_factory=dict)
    looked_at: float = float("-inf")
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def borrow(self, tried: frozenset[str] = frozenset()) -> AsyncIterator[Channel]:
        """The channel to use for one question, none of the addresses in ``tried``. Raises NoReplica."""
        channel = await self._least_busy(tried)
        channel.outstanding += 1
        channel.asked_at = time.monotonic()
        try:
            yield channel
        finally:
            channel.outstanding -= 1

    def eject(self, channel: Channel) -> None:
        """It could not be reached: ask others first, and look at the table again."""
        channel.ejected_until = time.monotonic() + EJECTED_SECONDS
        self.looked_at = float("-inf")

    async def _least_busy(self, tried: frozenset[str]) -> Channel:
        await self._look()
        there = [channel for address, channel in self.channels.items() if address not in tried]
        now = time.monotonic()
        # With everybody ejected the least recently ejected one is asked: it may be back.
        ready = [channel for channel in there if channel.ejected_until <= now] or sorted(
            there, key=lambda channel: channel.ejected_until
        )[:1]
        if not ready:
            raise NoReplica
        return min(ready, key=lambda channel: (channel.outstanding, channel.asked_at))

    async def _look(self) -> None:
        async with self.looking:
            if time.monotonic() - self.looked_at < LOOK_AGAIN_SECONDS:
                return
            there = {replica.address for replica in await ask_database(fresh_replicas)}
            for address in there - self.channels.keys():
                self.channels[address] = Channel(address, open_client(address))
            for address in self.channels.keys() - there:
                gone = self.channels[address]
                if not gone.outstanding:
                    del self.channels[address]
                    await gone.client.aclose()
            # An empty table is looked at again at once: the server may be about to start.
            self.looked_at = time.monotonic() if there else float("-inf")


_POOLS: WeakKeyDictionary[asyncio.AbstractEventLoop, ReplicaPool] = WeakKeyDictionary()


def replica_pool() -> ReplicaPool:
    """The pool of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _POOLS:
        _POOLS[loop] = ReplicaPool()
    return _POOLS[loop]
