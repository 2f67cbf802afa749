"""A kept connection to a replica, with one question at a time on it.

HTTP/1.1 read by httptools, the parser that uvicorn uses too. A general client costs more than everything else that
a question needs here; what is spoken with a replica is one POST, answered whole or in chunks.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable
from functools import lru_cache, partial
from typing import cast
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httptools

from serving_app.replicas.pool import UNIX_PREFIX, Channel

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 600.0
MOST_UNREAD_BYTES = 2**20
"""Of an answer that the caller is slow to read; then the replica waits."""
MOST_IDLE = 64


class Unreached(OSError):
    """No byte of an answer came: nobody listens, or the connection ended before."""


class BrokenOff(OSError):
    """The connection ended in the middle of an answer."""


class Line(asyncio.Protocol):
    """One connection. ``status`` is 0 until the answer's head is here."""

    def __init__(self, unheard: set[Callable[[], None]]) -> None:
        self._unheard = unheard  # of its channel, which is not held: it takes its idle lines along
        self.status = 0
        self.retry_after = ""
        self.is_done = True
        self.is_lost = False
        self._keeps = False
        self._took_too_long = False
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._waiter: asyncio.Future[None] | None = None

    async def ask(self, head: bytes, data: bytes) -> None:
        """Send a question and wait for the head of the answer. Raises Unreached and TimeoutError."""
        self.status, self.retry_after, self.is_done, self._keeps = 0, "", False, False
        self._took_too_long = False
        self._parser = httptools.HttpResponseParser(self)
        self._deadline = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._give_up)
        self._transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(data), data))
        self._unheard.add(self.close)
        try:
            while not self.status:
                if self.is_lost:
                    raise Unreached
                await self._wait()
        finally:
            self._unheard.discard(self.close)

    async def read(self) -> bytes:
        """The whole body. Raises BrokenOff and TimeoutError."""
        while not self.is_done:
            if self.is_lost:
                raise BrokenOff
            self._transport.resume_reading()
            await self._wait()
        return self._take()

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises as ``read``."""
        while True:
            if self._unread:
                yield self._take()
                self._transport.resume_reading()
            elif self.is_done:
                return
            elif self.is_lost:
                raise BrokenOff
            else:
                await self._wait()

    def end(self) -> bool:
        """The question is over. Whether the connection can take another; else it is closed, which tells the replica."""
        self._deadline.cancel()
        if self.is_done and self._keeps and not self.is_lost and not self._unread:
            return True
        self.close()
        return False

    def close(self) -> None:
        """Hang up."""
        self._keeps = False
        if not self.is_lost:
            self._transport.abort()

    async def _wait(self) -> None:
        if self._took_too_long:
            raise TimeoutError
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _give_up(self) -> None:
        self._took_too_long = True
        self._wake()

    def _take(self) -> bytes:
        taken = self._unread[0] if len(self._unread) == 1 else b"".join(self._unread)
        self._unread, self._unread_bytes = [], 0
        return taken

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self.is_done:  # nobody asked
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        self.is_lost = True
        self._wake()

    def on_message_begin(self) -> None:
        """Called by the parser. An answer that nobody asked for must not become part of one, or of the next: raising here ends
        the parsing."""
        if self.is_done:
            raise BrokenOff

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if name.lower() == b"retry-after":
            self.retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        if self._parser.get_status_code() < 200:  # "103 Early Hints": the answer follows
            return
        self.status = self._parser.get_status_code()
        self._keeps = self._parser.should_keep_alive()
        self._wake()

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._unread.append(body)
        self._unread_bytes += len(body)
        if self._unread_bytes > MOST_UNREAD_BYTES:
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self.status:
            self.is_done = True
            self._wake()


_idle: WeakKeyDictionary[Channel, list[Line]] = WeakKeyDictionary()


async def open_line(channel: Channel, *, fresh: bool = False) -> Line:
    """A connection to this replica: one that lies idle, or (``fresh``, or where there is none) a new one. Raises
    Unreached."""
    idle = _idle_of(channel)
    while idle and not fresh:
        line = idle.pop()
        if not line.is_lost:
            return line
    loop = asyncio.get_running_loop()
    make = partial(Line, channel.unheard)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            if channel.address.startswith(UNIX_PREFIX):
                path = channel.address.removeprefix(UNIX_PREFIX)
                return (await loop.create_unix_connection(make, path))[1]
            host, port = _host_and_port(channel.address)
            return (await loop.create_connection(make, host, port))[1]
    except (OSError, TimeoutError) as error:
        raise Unreached from error


def keep_line(channel: Channel, line: Line) -> None:
    """The question on it is over: let the next one have the connection, where that is possible."""
    if line.end():
        idle = _idle_of(channel)
        if len(idle) < MOST_IDLE:
            idle.append(line)
        else:
            line.close()


@lru_cache(maxsize=1_000)
def head_for(address: str, path: str) -> bytes:
    """The head of a question, up to the length of its body."""
    host = "replica" if address.startswith(UNIX_PREFIX) else ":".join(map(str, _host_and_port(address)))
    return f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n".encode()


def _idle_of(channel: Channel) -> list[Line]:
    idle = _idle.get(channel)
    if idle is None:
        idle = _idle[channel] = []
        weakref.finalize(channel, _close_all, idle)
    return idle


def _close_all(idle: list[Line]) -> None:
    for line in idle:
        line.close()


def _host_and_port(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    return parts.hostname or "127.0.0.1", parts.port or 80
