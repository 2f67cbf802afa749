"""Answers that go on for hours, without a Django request around them.

A request under ASGI keeps a thread, and that thread a database connection, until its answer has ended. That is right for a
page and ruinous for a thousand readers of a stream. So a view checks who is asking, as every view does, and hands the
bytes over; once Django has finished with the request, ``StreamsAfterRequests`` sends them.

Readers come in crowds: when the site is started again, all of them come back within seconds. So only a few are let in at a
time, and whoever just wants a page need not wait behind them. The door is for readers alone: a request with a body, or
an answer that turns out to be no stream, could be drawn out by its sender and would keep it shut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack, suppress
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Chunks = AsyncGenerator[bytes, None]

OPENED_AT_ONCE = 2
_SLOT = "tunesmith.stream"


def long_stream(request: HttpRequest, chunks: Chunks, *, content_type: str) -> HttpResponseBase:
    """The response of a view whose bytes come over hours. Handed over where the server can take it, else streamed by
    Django (the test client; under WSGI the whole stream is read first)."""
    slot = getattr(request, "scope", {}).get(_SLOT)
    if slot is None:
        return StreamingHttpResponse(chunks, content_type=content_type)
    slot.append(chunks)
    return HttpResponse(content_type=content_type)


class StreamsAfterRequests:
    """ASGI middleware around Django: sends what ``long_stream`` handed over, under the headers Django answered with."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._door = asyncio.Semaphore(OPENED_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        async with AsyncExitStack() as inside:
            if _is_reader(scope):
                await inside.enter_async_context(self._door)
            opened = await self._ask(scope, receive, send, inside)
        if opened is not None:
            chunks, start = opened
            await send(start)
            await _send_all(chunks, receive, send)

    async def _ask(
        self, scope: Scope, receive: Receive, send: Send, inside: AsyncExitStack
    ) -> tuple[Chunks, MutableMapping[str, Any]] | None:
        """Django's answer: sent already (None), or a stream that was handed over, with the message that begins it. What is
        no stream is sent outside the door."""
        slot: list[Chunks] = []
        started: list[MutableMapping[str, Any]] = []

        async def send_or_keep(message: MutableMapping[str, Any]) -> None:
            if not slot or (message["type"] == "http.response.start" and message["status"] != 200):
                slot.clear()  # something between the view and us answered otherwise
                await inside.aclose()
                await send(message)
            elif message["type"] == "http.response.start":
                started.append(message)

        await self._application({**scope, _SLOT: slot}, receive, send_or_keep)
        if not slot or not started:
            return None
        headers = [(name, value) for name, value in started[0]["headers"] if name.lower() != b"content-length"]
        return slot[-1], {**started[0], "headers": headers}


def _is_reader(scope: Scope) -> bool:
    """Whether somebody asks to read a stream, and sends nothing along."""
    headers = dict(scope["headers"])
    has_body = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
    return scope["method"] == "GET" and not has_body and b"text/event-stream" in headers.get(b"accept", b"")


async def _send_all(chunks: Chunks, receive: Receive, send: Send) -> None:
    """Send until the stream ends or the reader leaves, whichever comes first."""
    leaving = asyncio.ensure_future(_until_gone(receive))
    sending = asyncio.ensure_future(_until_ended(chunks, send))
    try:
        await asyncio.wait({leaving, sending}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (leaving, sending):
            task.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await task
        await chunks.aclose()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until_ended(chunks: Chunks, send: Send) -> None:
    async for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
