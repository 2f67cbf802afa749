"""One HTTP exchange as bytes: reading a body that is bounded in size and time, and writing an answer or a stream.

Plain ASGI messages: on the hot path a framework's request and response objects cost as much as everything else.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeVar

import orjson

from finetune_engine.errors import UserError
from finetune_engine.serve.openai_format import error_of
from web_kit.errors import error_body, is_openai_path
from web_kit.ids import new_id

MAX_BODY_BYTES = 4 * 2**20
MAX_HEADER_BYTES = 32 * 2**10
BODY_SECONDS = 20.0
"""How long a body may take to arrive."""
WATCH_AFTER_SECONDS = 0.05
"""Whether the caller is still there is looked at from then on: most who ask are answered before, or wait much longer."""
UNREAD_SECONDS = 30.0
"""How long a client may leave a stream unread once the buffers are full."""

Message = MutableMapping[str, Any]
Header = tuple[bytes, bytes]
T = TypeVar("T")
_JSON: Header = (b"content-type", b"application/json")
_NO_STORE: Header = (b"cache-control", b"no-store")
_CLOSE: Header = (b"connection", b"close")


class Exchange:
    """A request and the answer to it. ``left``: the caller hung up; ``has_begun``: a stream is on its way."""

    __slots__ = ("_receive", "_send", "has_begun", "headers", "left", "method", "path", "request_id")

    def __init__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = new_id()
        self.left = self.has_begun = False
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> str:
        """A header's text; empty when it was not sent."""
        value = self.headers.get(name)
        return value.decode("latin-1") if value else ""

    async def body(self) -> bytes:
        """The whole body. Raises UserError 413, 431 and 408; nothing more is read then."""
        if sum(map(len, self.headers.values())) > MAX_HEADER_BYTES:
            raise _Closing("headers_too_large", f"The headers have more than {MAX_HEADER_BYTES // 2**10} KB.", 431)
        length = self.headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            raise _too_large()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._read()
        except TimeoutError:
            sentence = f"The request body took longer than {BODY_SECONDS:.0f} s to arrive."
            raise _Closing("body_too_slow", sentence, 408) from None

    async def _read(self) -> bytes:
        message = await self._receive()
        if not message.get("more_body"):
            self._demand_here(message)
            body: bytes = message["body"]
            if len(body) > MAX_BODY_BYTES:
                raise _too_large()
            return body
        parts, size = [], 0
        while True:
            self._demand_here(message)
            parts.append(message["body"])
            size += len(parts[-1])
            if size > MAX_BODY_BYTES:
                raise _too_large()
            if not message.get("more_body"):
                return b"".join(parts)
            message = await self._receive()

    def _demand_here(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self.left = True
            raise asyncio.CancelledError

    async def unless_they_leave(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, cancelled (and ``left`` set) as soon as the caller hangs up."""
        me = asyncio.current_task()
        assert me is not None

        def leave(watch: asyncio.Task[None]) -> None:
            if not watch.cancelled():
                self.left = True
                me.cancel()

        watches: list[asyncio.Task[None]] = []

        def look() -> None:
            watches.append(loop.create_task(self._hung_up()))
            watches[0].add_done_callback(leave)

        loop = asyncio.get_running_loop()
        timer = loop.call_later(WATCH_AFTER_SECONDS, look)
        try:
            return await work
        finally:
            timer.cancel()
            for watch in watches:
                watch.remove_done_callback(leave)
                watch.cancel()

    async def _hung_up(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def answer(self, body: Any, headers: list[Header], status: int = 200) -> None:
        """A JSON answer."""
        content = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
        headers += (_JSON, _NO_STORE, (b"content-length", b"%d" % len(content)))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": content})

    async def stream(self, pieces: AsyncIterator[dict[str, Any]], headers: list[Header]) -> None:
        """Chunks as server-sent events, ended by ``[DONE]``. An error in the middle is sent as an event of its own. A client
        that does not read is dropped: the buffers before it are small, and nobody waits for it longer than UNREAD_SECONDS."""
        headers += ((b"content-type", b"text/event-stream; charset=utf-8"), _NO_STORE, (b"x-accel-buffering", b"no"))
        self.has_begun = True
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            async for piece in pieces:
                await self._send_event(orjson.dumps(piece, option=orjson.OPT_NON_STR_KEYS))
        except UserError as error:
            await self._send_event(orjson.dumps(error_of(error)[1]))
        await self._send_event(b"[DONE]", more=False)

    async def _send_event(self, data: bytes, *, more: bool = True) -> None:
        event = {"type": "http.response.body", "body": b"data: " + data + b"\n\n", "more_body": more}
        async with asyncio.timeout(UNREAD_SECONDS):
            await self._send(event)

    async def refuse(self, error: UserError, headers: list[Header]) -> None:
        """The answer for ``error``: 400 for OpenAI's addresses where ours say 422, ``Retry-After`` where waiting helps."""
        headers += getattr(error, "headers", ())
        retry_after = getattr(error, "retry_after", 3 if error.status == 503 else None)
        if retry_after is not None:
            headers.append((b"retry-after", b"%d" % math.ceil(retry_after)))
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if isinstance(error, _Closing):
            headers.append(_CLOSE)
        status = error.status
        if status in (400, 422):
            status = 400 if is_openai_path(self.path) else 422
        body = error_body(status, error.sentence, code=error.code, param=error.field, place=error.place.as_dict())
        await self.answer(body, headers, status)


class _Closing(UserError):
    """The rest of the request is not read, so the connection cannot be used again."""

    def __init__(self, code: str, sentence: str, status: int) -> None:
        super().__init__(code, sentence, status=status)


def _too_large() -> _Closing:
    return _Closing("body_too_large", f"The request body has more than {MAX_BODY_BYTES // 2**20} MB. Send less.", 413)
