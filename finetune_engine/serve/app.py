"""The inference process: a small HTTP application that only the site speaks to.

It checks no keys; the site does, and this process listens on a unix socket or on localhost. Answers are
written in other threads, so ``/health`` replies while models work.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.exchange import Backend, CompletionRequest, Delta
from finetune_engine.serve.openai_format import (
    ChunkWriter,
    ReplyId,
    embedding_body,
    error_body,
    error_of,
    parse_chat_request,
    parse_completion_request,
    parse_embedding_request,
    response_body,
)
from finetune_engine.serve.under_way import ClientGone, Exchange, Mail

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT = 128
DEADLINE_SECONDS = 600.0
MAX_BODY_BYTES = 8 * 1024 * 1024
BODY_SECONDS = 60.0
"""A request that takes longer to arrive is given up."""
SEND_SECONDS = 60.0
"""A reader that takes nothing for so long has gone, whatever its connection says."""
ASIDE_THREADS = 16
DRAINING_RETRY_SECONDS = 1

Parse = Callable[[Any], CompletionRequest]
T = TypeVar("T")


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


class InferenceApp:
    """The handlers and what they share."""

    def __init__(self, backend: Backend, max_in_flight: int, deadline_seconds: float) -> None:
        self._backend = backend
        self._admission = Admission(max_in_flight)
        self._deadline_seconds = deadline_seconds
        self._mail: Mail | None = None
        self._is_draining = False
        self._aside = ThreadPoolExecutor(ASIDE_THREADS, thread_name_prefix="aside")

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        return await self._complete(request, parse_chat_request)

    async def completion(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        return await self._complete(request, parse_completion_request)

    async def embeddings(self, request: Request) -> Response:
        """``POST /v1/embeddings``: ``embed:minilm``, or ``hidden:`` and the id of a served model."""
        try:
            wanted = parse_embedding_request(await _json_body(request))
        except (UserError, ClientDisconnect) as problem:
            return _error_response(problem)
        if (refusal := self._refusal()) is not None:
            return refusal
        began = time.monotonic()
        try:
            made = await self._in_thread(request, partial(self._backend.embed, wanted.model, wanted.inputs))
            return _json_response(embedding_body(wanted, made.vectors, made.prompt_tokens))
        except Exception as problem:
            return _error_response(problem)
        finally:
            self._admission.leave(time.monotonic() - began)

    async def load(self, request: Request) -> Response:
        """``POST /v1/load`` ``{model}``: bring a model into memory before anybody asks it. Takes no place."""
        began = time.monotonic()
        try:
            body = await _json_body(request)
            model = body.get("model") if isinstance(body, dict) else None
            if not isinstance(model, str) or not model:
                raise UserError("invalid_value", "'model' must be the id of a model.", "model", status=400)
            if self._is_draining:
                raise draining()
            template = await self._in_thread(request, partial(self._backend.load, model))
        except Exception as problem:
            return _error_response(problem)
        return _json_response({"loaded": True, "template_sha256": template, "seconds": time.monotonic() - began})

    async def health(self, request: Request) -> Response:
        """``GET /health``: alive, how busy, and what there is."""
        body = {
            "status": "draining" if self._is_draining else "healthy",
            "models": self._backend.loaded_models(),
            "in_flight": self._admission.in_flight,
            "limit": self._admission.limit,
        }
        return _json_response(body | self._backend.facts())

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``: those in memory."""
        data = [
            {"id": model_id, "object": "model", "created": 0, "owned_by": "tunesmith"}
            for model_id in self._backend.loaded_models()
        ]
        return _json_response({"object": "list", "data": data})

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return self._admission.in_flight

    def drain(self) -> None:
        """Finish what is under way, and send new requests away. From any thread, or a signal handler."""
        self._is_draining = True

    def close(self) -> None:
        """Take no more work."""
        self._aside.shutdown(wait=False, cancel_futures=True)

    async def _complete(self, request: Request, parse: Parse) -> Response:
        try:
            wanted = parse(await _json_body(request))
        except (UserError, ClientDisconnect) as problem:
            return _error_response(problem)
        if (refusal := self._refusal()) is not None:
            return refusal
        self._mail = self._mail or Mail()
        exchange = Exchange(wanted, self._mail, self._deadline_seconds)
        watcher = asyncio.ensure_future(_watch(request, exchange))

        def end() -> None:
            watcher.cancel()
            exchange.give_up()
            self._admission.leave(exchange.seconds)

        is_handed_on = False
        try:
            exchange.begin(self._backend)
            if wanted.stream:
                # The first piece is waited for, so that an early error still has its HTTP status.
                stream = EventStream(exchange, await exchange.pieces(), on_end=end)
                is_handed_on = True
                return stream
            await exchange.whole()
            name = ReplyId.new(wanted)
            return _json_response(response_body(wanted, name, exchange.reply, exchange.extension()))
        except Exception as problem:
            return _error_response(problem)
        finally:
            if not is_handed_on:
                end()

    def _refusal(self) -> Response | None:
        """The answer to a caller for whom there is no place; None when a place was taken."""
        if self._is_draining:
            return _error_response(draining())
        if self._admission.enter():
            return None
        wait = self._admission.retry_after()
        sentence = f"The model server is busy. Try again in about {wait} seconds."
        body = error_body(sentence, kind="rate_limit_error", code="rate_limit_exceeded")
        return _json_response(body, 429, {"Retry-After": str(wait)})

    async def _in_thread(self, request: Request, act: Callable[[], T]) -> T:
        """What ``act`` returns, unless the client hangs up first. Raises ClientGone and UserError 504."""
        doing = asyncio.get_running_loop().run_in_executor(self._aside, act)
        gone = asyncio.ensure_future(_disconnected(request))
        waiting: set[asyncio.Future[Any]] = {doing, gone}
        try:
            await asyncio.wait(waiting, timeout=self._deadline_seconds, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                return doing.result()
            if gone.done():
                raise ClientGone
            raise UserError("timeout", "It took too long and was given up.", status=504)
        finally:
            gone.cancel()
            doing.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, whoever waits


class EventStream(Response):
    """The pieces of an answer as server-sent events. Gives its place back however it ends."""

    def __init__(self, exchange: Exchange, first: list[Delta], *, on_end: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(media_type="text/event-stream", headers=headers)
        del self.headers["content-length"]
        self._exchange, self._first, self._on_end = exchange, first, on_end

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send until the end, or until the client has gone."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for block in self._blocks():
                async with asyncio.timeout(SEND_SECONDS):
                    await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (ClientGone, OSError, TimeoutError):
            return
        finally:
            self._on_end()

    async def _blocks(self) -> AsyncIterator[bytes]:
        exchange = self._exchange
        writer = ChunkWriter(exchange.request, ReplyId.new(exchange.request))
        head = b"".join(map(_event, writer.opening()))
        pieces = self._first
        try:
            while pieces:
                yield head + b"".join(_event(chunk) for piece in pieces for chunk in writer.write(piece))
                head = b""
                pieces = await exchange.pieces()
        except ClientGone:
            raise
        except Exception as problem:  # the status line is long gone: the error travels in the stream
            yield _event(_log_and_describe(problem)[1])
            return
        tail = b"".join(map(_event, writer.closing(exchange.reply.usage, exchange.extension())))
        yield head + tail + b"data: [DONE]\n\n"


async def _watch(request: Request, exchange: Exchange) -> None:
    """Hang up when the client does."""
    await _disconnected(request)
    exchange.hang_up()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _json_body(request: Request) -> Any:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    limit = MAX_BODY_BYTES // 2**20
                    raise UserError("too_large", f"The request is larger than {limit} MB. Shorten it.", status=413)
    except TimeoutError as problem:
        raise UserError("timeout", "The request took too long to arrive.", status=408) from problem
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise UserError("invalid_json", f"The request body is not valid JSON: {problem}", status=400) from problem


def _bytes_of(body: Any) -> bytes:
    with contextlib.suppress(TypeError):
        return orjson.dumps(body)
    # Half a surrogate pair is no UTF-8, and JSON of the standard library shrugs.
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + _bytes_of(body) + b"\n\n"


def _json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(_bytes_of(body), status, headers, "application/json")


def draining() -> UserError:
    """What a new caller is told while this process is about to end."""
    sentence = "This model server is about to end and takes no new requests. Another one answers."
    return UserError("draining", sentence, reason="model_unavailable", status=503)


def _error_response(problem: Exception) -> Response:
    if isinstance(problem, ClientGone | ClientDisconnect):
        return Response(status_code=499)
    status, body = _log_and_describe(problem)
    seconds = getattr(problem, "retry_after_seconds", None)
    if seconds is None and status == 503:
        seconds = DRAINING_RETRY_SECONDS if getattr(problem, "code", "") == "draining" else 5
    headers = {"Retry-After": str(max(1, math.ceil(seconds)))} if seconds is not None else None
    return _json_response(body, status, headers)


def _log_and_describe(problem: Exception) -> tuple[int, dict[str, Any]]:
    if not isinstance(problem, UserError | EngineError):
        logger.error("a request failed", exc_info=problem)
    return error_of(problem)


def build_app(
    backend: Backend, *, max_in_flight: int = MAX_IN_FLIGHT, deadline_seconds: float = DEADLINE_SECONDS
) -> Starlette:
    """The application around ``backend``; its ``state.inference`` is the InferenceApp.

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
        Route("/v1/embeddings", app.embeddings, methods=["POST"]),
        Route("/v1/load", app.load, methods=["POST"]),
        Route("/v1/models", app.models, methods=["GET"]),
        Route("/health", app.health, methods=["GET"]),
    ]
    site = Starlette(routes=routes, lifespan=lifespan)
    site.state.inference = app
    return site
