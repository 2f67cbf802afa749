"""``python stub_replica.py ADDRESS [options]``: what a replica says over HTTP, without a model behind it.

Every answer is the serving id it was asked for, so that a test sees who answered. ``GET /counts`` tells how many answers were
given, ``POST /options`` changes the options below while it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from typing import Any

from aiohttp import web

UNIX_PREFIX = "unix:"


class Stub:
    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.models: list[str] = []
        self.answers = 0
        self.in_flight = self.most_at_once = 0

    async def chat(self, request: web.Request) -> web.Response:
        model = (await request.json())["model"]
        self.in_flight += 1
        self.most_at_once = max(self.most_at_once, self.in_flight)
        try:
            await asyncio.sleep(self.options["slow"].get(model, self.options["answer_seconds"]))
        finally:
            self.in_flight -= 1
        if model in self.options["fails"]:
            return web.json_response({"error": {"message": "It broke.", "code": "internal"}}, status=500)
        self.answers += 1
        if model not in self.models:
            self.models.append(model)
        text = self.options["texts"].get(model, model)
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": model,
                "choices": [
                    {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"},
                ],
                "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
                "tunesmith": {"confidence": self.options["confidence"], "model_digest": "d" * 64},
            }
        )

    async def load(self, request: web.Request) -> web.Response:
        model = (await request.json())["model"]
        if self.options["dies_loading"]:
            os._exit(9)
        if problem := self.options["load_problem"]:
            return web.json_response({"error": {"message": problem, "code": "model_unavailable"}}, status=500)
        await asyncio.sleep(self.options["load_seconds"])
        self.models.append(model)
        return web.json_response({"loaded": True, "template_sha256": self.options["template"], "seconds": 0.1})

    async def health(self, request: web.Request) -> web.Response:
        status = "draining" if self.options["draining"] else "healthy"
        return web.json_response({"status": status, "models": self.models, "in_flight": self.in_flight, "limit": 64})

    async def counts(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "answers": self.answers,
                "models": self.models,
                "most_at_once": self.most_at_once,
                "in_flight": self.in_flight,
            }
        )

    async def change(self, request: web.Request) -> web.Response:
        self.options |= await request.json()
        return web.json_response({})


DEFAULTS = {
    "answer_seconds": 0.02,
    "load_seconds": 0.1,
    "load_problem": "",
    "dies_loading": False,
    "template": "t" * 64,
    "draining": False,
    "confidence": 0.9,
    "texts": {},
    "fails": [],
    "slow": {},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--options", default="{}")
    arguments = parser.parse_args()
    stub = Stub(DEFAULTS | json.loads(arguments.options))
    app = web.Application()
    app.router.add_post("/v1/chat/completions", stub.chat)
    app.router.add_post("/v1/load", stub.load)
    app.router.add_get("/health", stub.health)
    app.router.add_get("/counts", stub.counts)
    app.router.add_post("/options", stub.change)
    if arguments.address.startswith(UNIX_PREFIX):
        web.run_app(app, path=arguments.address.removeprefix(UNIX_PREFIX), print=None, access_log=None)
    else:
        port = int(arguments.address.rpartition(":")[2])
        web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None, reuse_address=True)


if __name__ == "__main__":
    main()
