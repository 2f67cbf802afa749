"""A replica over real HTTP in a thread of the test: it numbers its answers and embeds a text as the sum of its words."""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web

WIDTH = 64
LITTLE = {"how", "do", "can", "i", "the", "a", "my", "what", "is", "to", "please"}


@dataclass
class EmbeddingReplica:
    """What it was asked, and what a test may change while it runs."""

    address: str
    asked: list[str] = field(default_factory=list)
    embedded: list[tuple[str, str]] = field(default_factory=list)
    embedding_seconds: float = 0.0
    embedders: tuple[str, ...] = ("embed:minilm",)

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body["messages"][-1]["content"])
        message = {"role": "assistant", "content": f"answer {len(self.asked)}"}
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
                "tunesmith": {"confidence": 0.9, "model_digest": "d" * 64},
            }
        )

    async def embeddings(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.embedded += [(body["model"], text) for text in body["input"]]
        await asyncio.sleep(self.embedding_seconds)
        if body["model"] not in self.embedders:
            error = {"message": "no such embedder", "code": "model_not_found", "param": "model"}
            return web.json_response({"error": error}, status=404)
        data = [{"index": n, "embedding": embedding(text)} for n, text in enumerate(body["input"])]
        return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": {}})

    async def health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "healthy", "models": [], "in_flight": 0, "limit": 64})


def embedding(text: str) -> list[float]:
    total = np.zeros(WIDTH)
    for word in re.findall(r"\w+", text.lower()):
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
        total += np.random.default_rng(seed).standard_normal(WIDTH) * (0.1 if word in LITTLE else 1.0)
    values: list[Any] = (total / np.linalg.norm(total)).tolist()
    return values


@contextmanager
def embedding_replica(folder: Path) -> Iterator[EmbeddingReplica]:
    """Runs until the block ends."""
    socket = folder / "replica.sock"
    replica = EmbeddingReplica(f"unix:{socket}")
    loop, ready, done = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", replica.chat)
        app.router.add_post("/v1/embeddings", replica.embeddings)
        app.router.add_get("/health", replica.health)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        ready.set()
        await done.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield replica
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()
