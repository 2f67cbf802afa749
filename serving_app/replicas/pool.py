"""Where a question goes: to the replica with the fewest questions under way; among equals, to one that has the model in
its memory; among those, in turn.

One pool per event loop. While anybody asks, it looks at the table of replicas every second and at each replica's health
every half second. One that cannot be reached, or fails two looks, gets no questions; when it answers again, one question
tries it out before the others follow. One that only ever fails at a model is asked about it after the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from logging import getLogger
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from finetune_engine.errors import UserError
from serving_app.choices import STARTING, BackendKind, ReplicaState
from serving_app.gateway.database import ask_database
from serving_app.models import Replica
from serving_app.queries import chosen_backend, fresh_replicas

if TYPE_CHECKING:
    import aiohttp  # takes long to import, and most programs that know this module look after nobody's health

LOOK_AGAIN_SECONDS = 1.0
CHECK_SECONDS = 0.5
CHECK_PATIENCE_SECONDS = 0.6
CHECKS_TO_FAIL = 2
FROZEN_SECONDS = 5.0
"""How long one that was ejected keeps the questions that it has not begun to answer, while another could take them."""
FAILURES_IN_A_ROW = 3
SHUNNED_SECONDS = 5.0
"""How long one is asked about a model after the others, having failed at it so often."""
FAULTS = (500, 502)
"""What a replica says when it, or the model in it, is broken; 503 and 504 say that it has too much to do."""
IDLE_SECONDS = 60.0
UNIX_PREFIX = "unix:"
logger = getLogger(__name__)


class NoReplica(UserError):
    """Nobody is there to answer: 503 with Retry-After."""

    retry_after = 3

    def __init__(self) -> None:
        super().__init__("model_server_starting", STARTING, status=503)


class Standing(Enum):
    """Whether a replica is trusted with questions: all, none, or one to see."""

    TRUSTED = "trusted"
    EJECTED = "ejected"
    ON_PROBATION = "on_probation"


@dataclass(eq=False)
class Channel:
    """The connections to one replica and what is going on there. ``models`` are the serving ids in its memory, ``faults``
    how often in a row it failed at each and when last, ``unheard`` how to hang up on each question of which it has answered
    nothing yet."""

    address: str
    session: aiohttp.ClientSession
    models: frozenset[str] = frozenset()
    backends: frozenset[str] = frozenset()
    is_draining: bool = False
    outstanding: int = 0
    asked_at: float = 0.0
    standing: Standing = Standing.TRUSTED
    ejected_at: float = 0.0
    failed_checks: int = 0
    faults: dict[str, tuple[int, float]] = field(default_factory=dict)
    unheard: set[Callable[[], None]] = field(default_factory=set)

    def url(self, path: str) -> str:
        """Where ``path`` is asked, for the session."""
        return ("http://replica" if self.address.startswith(UNIX_PREFIX) else self.address) + path

    @property
    def takes_questions(self) -> bool:
        """Whether a new question may go there now."""
        if self.is_draining or self.standing is Standing.EJECTED:
            return False
        return self.standing is Standing.TRUSTED or not self.outstanding

    def note_answer(self, serving_id: str, *, is_fault: bool) -> None:
        """It answered a question about this model, or said that it cannot."""
        if not is_fault:
            self.faults.pop(serving_id, None)
            return
        times, _ = self.faults.get(serving_id, (0, 0.0))
        self.faults[serving_id] = times + 1, time.monotonic()

    def fails_at(self, serving_id: str) -> bool:
        """Whether its last answers about this model were all faults. A fault comes quickly, so that the one that has it is
        always the least busy: it would draw every question to itself."""
        times, last = self.faults.get(serving_id, (0, 0.0))
        return times >= FAILURES_IN_A_ROW and time.monotonic() - last < SHUNNED_SECONDS

    def eject(self) -> None:
        """No questions until it answers again."""
        if self.standing is not Standing.EJECTED:
            logger.warning("the model server at %s does not answer; it gets no questions", self.address)
            self.standing, self.ejected_at = Standing.EJECTED, time.monotonic()

    def note_health(self, told: dict[str, Any]) -> None:
        """It answered a look at its health."""
        self.failed_checks = 0
        self.models = frozenset(told.get("models") or ())
        self.is_draining = told.get("status") == ReplicaState.DRAINING
        if self.standing is Standing.EJECTED:
            logger.warning("the model server at %s answers again", self.address)
            self.standing = Standing.ON_PROBATION

    def note_failed_check(self) -> None:
        """It was silent, or answered nonsense. Once may be chance."""
        self.failed_checks += 1
        if self.failed_checks >= CHECKS_TO_FAIL:
            self.eject()


def open_session(address: str) -> aiohttp.ClientSession:
    """A session for ``unix:/path`` or an ``http://`` URL, for looks at the health of who answers there."""
    import aiohttp

    connector: aiohttp.BaseConnector
    if address.startswith(UNIX_PREFIX):
        connector = aiohttp.UnixConnector(address.removeprefix(UNIX_PREFIX), limit=0)
    else:
        connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=CHECK_PATIENCE_SECONDS)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())


class Loan:
    """A channel while one question is asked on it (``ReplicaPool.borrow``). A class, because an asynchronous generator as context
    costs several times as much on the hot path."""

    __slots__ = ("_channel", "_pool", "_serving_id", "_tried")

    def __init__(self, pool: ReplicaPool, tried: frozenset[str], serving_id: str) -> None:
        self._pool, self._tried, self._serving_id = pool, tried, serving_id

    async def __aenter__(self) -> Channel:
        channel = self._channel = await self._pool.choose(self._tried, self._serving_id)
        channel.outstanding += 1
        channel.asked_at = self._pool.asked_at
        return channel

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        channel = self._channel
        channel.outstanding -= 1
        if channel.standing is Standing.ON_PROBATION:
            channel.standing = Standing.TRUSTED  # it was not ejected meanwhile
        if error is None or isinstance(error, UserError):
            channel.note_answer(self._serving_id, is_fault=error is not None and error.status in FAULTS)
        elif isinstance(error, Exception):  # the answer made no sense; a caller who left says nothing of it
            channel.note_answer(self._serving_id, is_fault=True)


@dataclass(eq=False)
class ReplicaPool:
    """Knows the replicas and shares the questions out among them."""

    channels: dict[str, Channel] = field(default_factory=dict)
    looked_at: float = float("-inf")
    asked_at: float = float("-inf")
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def borrow(self, tried: frozenset[str] = frozenset(), serving_id: str = "") -> Loan:
        """For ``async with``: the channel to use for one question to this model, none of the addresses in ``tried``. Raises
        NoReplica."""
        return Loan(self, tried, serving_id)

    async def choose(self, tried: frozenset[str], serving_id: str) -> Channel:
        """Whom to ask. Raises NoReplica."""
        now = self.asked_at = time.monotonic()
        is_known = self.channels and not tried  # while somebody looks, those who are known will do
        if now - self.looked_at >= LOOK_AGAIN_SECONDS and not (is_known and self.looking.locked()):
            await self._look()
        return self._least_busy(tried, serving_id)

    def eject(self, channel: Channel) -> None:
        """It could not be reached, or broke off: ask others, and look at the table again."""
        channel.eject()
        self.looked_at = float("-inf")

    async def watch(self) -> None:
        """Look at everybody's health for as long as the event loop runs; then close the connections."""
        try:
            while True:
                begun = time.monotonic()
                if begun - self.asked_at < IDLE_SECONDS:
                    await self._look()
                    await asyncio.gather(*(self._check(channel) for channel in list(self.channels.values())))
                    self._free_the_unheard()
                await asyncio.sleep(max(0.05, CHECK_SECONDS - (time.monotonic() - begun)))
        finally:
            for channel in self.channels.values():
                await channel.session.close()

    async def _check(self, channel: Channel) -> None:
        import aiohttp

        try:
            async with channel.session.get(channel.url("/health")) as response:
                if response.status != 200:
                    channel.note_failed_check()
                    return
                channel.note_health(await response.json())
        except (aiohttp.ClientConnectionError, FileNotFoundError):
            channel.eject()
        except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError):
            channel.note_failed_check()

    def _free_the_unheard(self) -> None:
        """Whoever waits at a server that stands still, and has heard nothing, is asked for elsewhere."""
        if not any(channel.takes_questions for channel in self.channels.values()):
            return  # it may only be slow: better late than not at all
        for channel in self.channels.values():
            is_frozen = channel.standing is Standing.EJECTED and time.monotonic() - channel.ejected_at > FROZEN_SECONDS
            for hang_up in list(channel.unheard) if is_frozen else ():
                hang_up()

    def _least_busy(self, tried: frozenset[str], serving_id: str) -> Channel:
        there = [channel for address, channel in self.channels.items() if address not in tried]
        # With everybody ejected the one that was ejected first is asked: it may be back.
        _, backend = chosen_backend(serving_id)
        there = [channel for channel in there if backend in (BackendKind.AUTO, *channel.backends)] or there
        ready = [channel for channel in there if channel.takes_questions] or sorted(
            (channel for channel in there if not channel.is_draining), key=lambda channel: channel.ejected_at
        )[:1]
        if not ready:
            raise NoReplica

        def cost(channel: Channel) -> tuple[bool, int, bool, float]:
            is_cold = serving_id not in channel.models
            return channel.fails_at(serving_id), channel.outstanding, is_cold, channel.asked_at

        return min(ready, key=cost)

    async def _look(self) -> None:
        """Read the table, at most once a second. When the database is away, those who are known stay."""
        async with self.looking:
            if time.monotonic() - self.looked_at < LOOK_AGAIN_SECONDS:
                return
            try:
                there = {replica.address: replica for replica in await ask_database(fresh_replicas)}
            except Exception as error:  # whatever the database's driver raises: answering does not need it
                logger.warning("the table of model servers cannot be read: %s", error)
                self.looked_at = time.monotonic()
                return
            self._learn(there)
            await self._part_from(self.channels.keys() - there.keys())
            # An empty table is looked at again at once: the server may be about to start.
            self.looked_at = time.monotonic() if there else float("-inf")

    def _learn(self, there: dict[str, Replica]) -> None:
        for address, replica in there.items():
            channel = self.channels.get(address)
            if channel is None:
                channel = self.channels[address] = Channel(address, open_session(address))
                channel.models = frozenset(replica.loaded)
            channel.backends = frozenset(replica.backends)
            if replica.state == ReplicaState.DRAINING:
                channel.is_draining = True

    async def _part_from(self, addresses: set[str]) -> None:
        for address in addresses:
            gone = self.channels[address]
            gone.is_draining = True
            if not gone.outstanding:
                del self.channels[address]
                await gone.session.close()


_POOLS: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[ReplicaPool, asyncio.Task[None]]] = WeakKeyDictionary()


def replica_pool() -> ReplicaPool:
    """The pool of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _POOLS.get(loop)
    if found is None or found[1].done():
        pool = ReplicaPool()
        watching = loop.create_task(pool.watch(), name="replica-health")
        # The loop must not be kept alive by its own pool once it has ended.
        watching.add_done_callback(lambda _: _POOLS.pop(loop, None))
        found = _POOLS[loop] = pool, watching
    return found[0]
