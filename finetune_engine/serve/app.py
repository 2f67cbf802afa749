"""The inference process: a small HTTP application that only the site speaks to.

It checks no keys; the site does, and this process listens on a unix socket or on localhost. Answers are
written in other threads, so ``/health`` replies while models work.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.exchange import Backend, CompletionRequest, Delta
from finetune_engine.serve.openai_format import (
    Choice,
    ChunkWriter,
    Reply,
    ReplyId,
    error_body,
    error_of,
    extension_of,
    parse_chat_request,
    parse_completion_request,
    response_body,
)

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT = 64
DEADLINE_SECONDS = 600.0
MAX_BODY_BYTES = 8 * 1024 * 1024

Parse = Callable[[Any], CompletionRequest]


class Admission:
    """How many requests are under way, and how long the next caller should wait when there is no room."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self._typical_seconds = 1.0

    def enter(self) -> bool:
        """Take a place. False when all are taken."""
        if self.in_flight >= self.limit:
            return False
        self.in_flight += 1
        return True

    def leave(self, seconds: float) -> None:
        """Give the place back after ``seconds``."""
        self.in_flight -= 1
        self._typical_seconds += 0.2 * (seconds - self._typical_seconds)

    def retry_after(self) -> int:
        """Whole seconds after which a place is likely to be free."""
        return max(1, min(60, math.ceil(self._typical_seconds)))


class Exchange:
    """One request under way: a thread writes the answer, the event loop reads it."""

    def __init__(self, backend: Backend, request: CompletionRequest, deadline_seconds: float) -> None:
        self.request = request
        self.reply = Reply([Choice() for _ in range(request.n)])
        self.started = time.monotonic()
        self.first_token_seconds: float | None = None
        self._backend = backend
        self._deadline = self.started + deadline_seconds
        self._cancelled = threading.Event()
        self._items: asyncio.Queue[Delta | Exception | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def write(self) -> None:
        """Run in a worker thread: everything the backend says goes to the loop."""
        try:
            for delta in self._backend.complete(self.request, self._cancelled):
                self._tell(delta)
            self._tell(None)
        except Exception as problem:  # the front door of the thread: the reader decides what becomes of it
            self._tell(problem)

    def _tell(self, item: Delta | Exception | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)
        except RuntimeError:  # the loop has ended: nobody reads any more
            self._cancelled.set()

    async def deltas(self) -> AsyncIterator[Delta]:
        """The pieces of the choices. Afterwards ``reply`` is whole. Raises what the backend raised."""
        while True:
            try:
                item = await asyncio.wait_for(self._items.get(), max(0.0, self._deadline - time.monotonic()))
            except TimeoutError as problem:
                raise UserError("timeout", "The answer took too long and was given up.", status=504) from problem
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            self.reply.add(item)
            if item.usage is None:
                if self.first_token_seconds is None:
                    self.first_token_seconds = self.seconds
                yield item

    @property
    def seconds(self) -> float:
        """Since the request came in."""
        return time.monotonic() - self.started

    def extension(self) -> dict[str, Any]:
        """The ``tunesmith`` field, once all pieces are here."""
        return extension_of(self.reply, latency_seconds=self.seconds, first_token_seconds=self.first_token_seconds)

    def give_up(self) -> None:
        """Tell the backend that nobody waits for the rest (harmless after the end)."""
        self._cancelled.set()


class InferenceApp:
    """The handlers and what they share."""

    def __init__(self, backend: Backend, max_in_flight: int, deadline_seconds: float) -> None:
        self._backend = backend
        self._admission = Admission(max_in_flight)
        self._deadline_seconds = deadline_seconds
        # Every admitted request holds a thread while it waits its turn; they sleep nearly all the time.
        self._threads = ThreadPoolExecutor(max_in_flight, thread_name_prefix="answer")

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        return await self._complete(request, parse_chat_request)

    async def completion(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        return await self._complete(request, parse_completion_request)

    async def health(self, request: Request) -> Response:
        """``GET /health``: alive, and how busy."""
        busy = {"in_flight": self._admission.in_flight, "limit": self._admission.limit}
        return JSONResponse({"status": "healthy", "models": self._backend.loaded_models(), **busy})

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``: those in memory."""
        data = [
            {"id": model_id, "object": "model", "created": 0, "owned_by": "tunesmith"}
            for model_id in self._backend.loaded_models()
        ]
        return JSONResponse({"object": "list", "data": data})

    def close(self) -> None:
        """Take no more work."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _complete(self, request: Request, parse: Parse) -> Response:
        try:
            wanted = parse(await _json_body(request))
        except UserError as problem:
            return _error_response(problem)
        except ClientDisconnect:
            return Response(status_code=499)
        if not self._admission.enter():
            return self._too_many()
        exchange = Exchange(self._backend, wanted, self._deadline_seconds)
        asyncio.get_running_loop().run_in_executor(self._threads, exchange.write)
        if wanted.stream:
            return await self._stream(exchange)
        try:
            return await _whole(request, exchange)
        finally:
            self._leave(exchange)

    def _leave(self, exchange: Exchange) -> None:
        exchange.give_up()
        self._admission.leave(exchange.seconds)

    def _too_many(self) -> Response:
        wait = self._admission.retry_after()
        sentence = f"The model server is busy. Try again in about {wait} seconds."
        body = error_body(sentence, kind="rate_limit_error", code="rate_limit_exceeded")
        return JSONResponse(body, status_code=429, headers={"Retry-After": str(wait)})

    async def _stream(self, exchange: Exchange) -> Response:
        """Wait for the first piece, so that an early error still has its HTTP status; then stream."""
        deltas = exchange.deltas()
        try:
            first = await anext(deltas, None)
        except BaseException as problem:
            self._leave(exchange)
            if isinstance(problem, Exception):
                return _error_response(problem)
            raise
        return SseResponse(_events(exchange, first, deltas), on_end=lambda: self._leave(exchange))


class SseResponse(StreamingResponse):
    """A stream of events that always gives its place back, even when it is dropped before the first byte."""

    def __init__(self, content: AsyncIterator[bytes], *, on_end: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(content, media_type="text/event-stream", headers=headers)
        self._on_end = on_end

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send until the end, or until the client has gone."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()


async def _events(exchange: Exchange, first: Delta | None, rest: AsyncIterator[Delta]) -> AsyncIterator[bytes]:
    writer = ChunkWriter(exchange.request, ReplyId.new(exchange.request))
    for chunk in writer.opening():
        yield _event(chunk)
    try:
        if first is not None:
            for chunk in writer.write(first):
                yield _event(chunk)
        async for delta in rest:
            for chunk in writer.write(delta):
                yield _event(chunk)
    except Exception as problem:  # the status line is long gone: the error travels in the stream
        yield _event(_log_and_describe(problem)[1])
        return
    for chunk in writer.closing(exchange.reply.usage, exchange.extension()):
        yield _event(chunk)
    yield b"data: [DONE]\n\n"


async def _whole(request: Request, exchange: Exchange) -> Response:
    """Read everything, unless the client hangs up first."""

    async def read() -> None:
        async for _ in exchange.deltas():
            pass

    reading = asyncio.ensure_future(read())
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({reading, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            return Response(status_code=499)
        reading.result()
    except Exception as problem:
        return _error_response(problem)
    finally:
        reading.cancel()
        gone.cancel()
    name = ReplyId.new(exchange.request)
    return JSONResponse(response_body(exchange.request, name, exchange.reply, exchange.extension()))


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _json_body(request: Request) -> Any:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            limit = MAX_BODY_BYTES // 2**20
            raise UserError("too_large", f"The request is larger than {limit} MB. Shorten it.", status=413)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise UserError("invalid_json", f"The request body is not valid JSON: {problem}", status=400) from problem


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n\n"


def _error_response(problem: Exception) -> Response:
    status, body = _log_and_describe(problem)
    headers = {"Retry-After": "5"} if status == 503 else None
    return JSONResponse(body, status_code=status, headers=headers)


def _log_and_describe(problem: Exception) -> tuple[int, dict[str, Any]]:
    if not isinstance(problem, UserError | EngineError):
        logger.error("a request failed", exc_info=problem)
    return error_of(problem)


def build_app(
    backend: Backend, *, max_in_flight: int = MAX_IN_FLIGHT, deadline_seconds: float = DEADLINE_SECONDS
) -> Starlette:
    """The application around ``backend``.

    Beyond ``max_in_flight`` requests the answer is 429 with Retry-After; an answer that takes longer than
    ``deadline_seconds``, waiting included, is given up with 504.
    """
    app = InferenceApp(backend, max_in_flight, deadline_seconds)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        app.close()

    routes = [
        Route("/v1/chat/completions", app.chat, methods=["POST"]),
        Route("/v1/completions", app.completion, methods=["POST"]),
        Route("/v1/models", app.models, methods=["GET"]),
        Route("/health", app.health, methods=["GET"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)
