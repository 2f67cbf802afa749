"""A model server without a model: answers at once, late, in pieces, not at all, as a test wants it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

REPLY: dict[str, Any] = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "base:demo-base",
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    "tunesmith": {"confidence": 0.9, "model_digest": "d" * 64, "first_token_seconds": 0.001},
}  # fmt: skip


class StubModel:
    """``delay`` seconds before each answer; ``seen`` are the bodies it was asked; ``pieces`` those of a stream, ``gap`` seconds
    between two; ``refusals`` are (status, times) to answer first; ``hung_up`` counts callers who left."""

    def __init__(self) -> None:
        self.delay, self.gap, self.pieces = 0.0, 0.0, ["Hello", " there"]
        self.breaks_off = False
        self.refusals: list[int] = []
        self.seen: list[dict[str, Any]] = []
        self.hung_up = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(self, log_level="critical", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True)

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        """Be gone."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)
        self._listener.close()

    def kill(self) -> None:
        """Die as a killed process does: connections are reset, nobody listens."""

        def die() -> None:
            for server in self._server.servers:
                server.close()
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()

        assert self._loop is not None
        self._loop.call_soon_threadsafe(die)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._loop = asyncio.get_running_loop()
        raw, more = b"", True
        while more:
            message = await receive()
            raw, more = raw + message.get("body", b""), message.get("more_body", False)
        if scope["path"] == "/health":
            await _json(send, 200, {"status": "healthy", "models": ["base:demo-base"], "in_flight": 0, "limit": 64})
            return
        body = json.loads(raw)
        self.seen.append(body)
        if self.refusals:
            status = self.refusals.pop(0)
            await _json(send, status, {"error": {"message": "Not now.", "code": "busy", "param": None}})
            return
        await self._wait(receive)
        if scope["path"] == "/v1/embeddings":
            data = [{"object": "embedding", "index": n, "embedding": [0.5, 0.25]} for n in range(len(body["input"]))]
            await _json(send, 200, {"object": "list", "data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}})
        elif body.get("stream"):
            await self._stream(send)
        else:
            message = {"role": "assistant", "content": "Hello there", "refusal": None}
            choices = [{"index": 0, "finish_reason": "stop", "message": message, "text": "Hello there"}]
            await _json(send, 200, REPLY | {"choices": choices})

    async def _wait(self, receive: Any) -> None:
        if self.delay:
            leaving = asyncio.ensure_future(receive())
            done, _ = await asyncio.wait({leaving}, timeout=self.delay)
            if done:
                self.hung_up += 1
            leaving.cancel()

    async def _stream(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for piece in self.pieces:
            choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
            await _event(send, REPLY | {"choices": [choice], "usage": None, "tunesmith": None})
            await asyncio.sleep(self.gap)
        if self.breaks_off:
            raise RuntimeError("as the test wants it")
        await _event(send, REPLY | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


@contextmanager
def announced_stub(pid: int = 1) -> Iterator[StubModel]:
    """One that listens and stands in the table of model servers, until the end of the block."""
    from serving_app.operations import announce_replica

    model = StubModel()
    model.start()
    try:
        announce_replica(address=model.address, host="here", pid=pid)
        yield model
    finally:
        model.stop()


async def _json(send: Any, status: int, body: Any) -> None:
    raw = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})


async def _event(send: Any, body: Any) -> None:
    data = b"data: " + json.dumps(body).encode() + b"\n\n"
    await send({"type": "http.response.body", "body": data, "more_body": True})
