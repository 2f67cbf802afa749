"""Server-sent events: a stream that a browser's EventSource reads, and that proxies do not hold back."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse

HEARTBEAT_SECONDS = 15.0
_HEARTBEAT = b": still here\n\n"


@dataclass(frozen=True)
class ServerSentEvent:
    """One message. ``data`` is sent as JSON (a ``str`` as it is); ``event`` None is the unnamed kind ``message``.

    ``id`` comes back as ``Last-Event-ID`` when the browser reconnects; ``retry_ms`` tells it how long to wait first.
    """

    data: Any = None
    event: str | None = None
    id: int | str | None = None
    retry_ms: int | None = None


def format_event(message: ServerSentEvent) -> bytes:
    """The message as bytes of the wire format.

    NaN and infinities become the strings ``"nan"``, ``"inf"``, ``"-inf"``, because JSON has no word for them.
    Raises ValueError when ``event`` or ``id`` contains a line break or NUL.
    """
    lines: list[str] = []
    if message.retry_ms is not None:
        lines.append(f"retry: {int(message.retry_ms)}")
    for name, value in (("id", message.id), ("event", message.event)):
        if value is None:
            continue
        if any(sign in str(value) for sign in "\r\n\0"):
            raise ValueError(f"The {name} of a server-sent event must be one line.")
        lines.append(f"{name}: {value}")
    text = message.data if isinstance(message.data, str) else json_words(message.data)
    lines.extend(f"data: {line}" for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    return ("\n".join(lines) + "\n\n").encode()


def json_words(value: Any) -> str:
    """Strict JSON, with floats that are no numbers spelled as strings."""
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)


def finite(value: Any) -> Any:
    """``value`` with every float that is no finite number replaced by ``"nan"``, ``"inf"`` or ``"-inf"``."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {str(key): finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return value


async def with_heartbeat(messages: AsyncIterator[ServerSentEvent], seconds: float) -> AsyncIterator[bytes]:
    """The messages as bytes, with a comment line whenever ``seconds`` pass in silence.

    A slow message is waited for, never cancelled; when the reader goes away the source is closed.
    """
    waiting: asyncio.Future[ServerSentEvent] | None = None
    try:
        while True:
            if waiting is None:
                waiting = asyncio.ensure_future(anext(messages))
            done, _ = await asyncio.wait({waiting}, timeout=seconds)
            if not done:
                yield _HEARTBEAT
                continue
            try:
                message = waiting.result()
            except StopAsyncIteration:
                return
            waiting = None
            yield format_event(message)
    finally:
        if waiting is not None:
            waiting.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await waiting
        close = getattr(messages, "aclose", None)
        if close is not None:
            await close()


def sse_response(
    messages: AsyncIterator[ServerSentEvent], *, heartbeat_seconds: float = HEARTBEAT_SECONDS
) -> StreamingHttpResponse:
    """The streaming response. Return it from an ``async def`` view; under WSGI the whole stream is read first."""
    response = StreamingHttpResponse(
        with_heartbeat(messages, heartbeat_seconds), content_type="text/event-stream; charset=utf-8"
    )
    response["Cache-Control"] = "no-cache, no-transform"
    response["X-Accel-Buffering"] = "no"
    return response


def last_event_id(request: HttpRequest) -> int:
    """The number of the last event the reader has: header ``Last-Event-ID``, else ``?after=``, else 0."""
    for text in (request.headers.get("Last-Event-ID", ""), request.GET.get("after", "")):
        if text.isascii() and text.isdigit() and len(text) < 19:
            return int(text)
    return 0
