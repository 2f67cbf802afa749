"""The servers that are compared: a stub model, a bare ASGI application, and the service that one would write with FastAPI.

``uvicorn benchmarks.serving_arms:<name>``. The FastAPI services have no keys, limits or log; the stub model is the same for all.
"""

from __future__ import annotations

import json
import os
from typing import Any, Literal

SOCKET = "STUB_SOCKET"
"""Where the stub listens, for the arms that ask it over HTTP."""
REPLY: dict[str, Any] = {
    "id": "chatcmpl-0123456789abcdef01234567",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "base:demo-base",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {
                "role": "assistant",
                "content": "The tenant pays the rent on the first working day of each month.",
                "refusal": None,
            },
            "logprobs": None,
        }
    ],
    "usage": {"prompt_tokens": 24, "completion_tokens": 14, "total_tokens": 38},
    "tunesmith": {
        "confidence": 0.91,
        "min_probability": 0.4,
        "latency_seconds": 0.001,
        "first_token_seconds": 0.001,
        "model_digest": "d" * 64,
        "template_sha256": "e" * 64,
    },
}
_BODY = json.dumps(REPLY).encode()
_HEALTH = json.dumps({"status": "healthy", "models": ["base:demo-base"], "in_flight": 0, "limit": 64}).encode()


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """The floor, and the stub model: reads the body and answers the same every time."""
    if scope["type"] != "http":
        return
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    body = _HEALTH if scope["path"] == "/health" else _BODY
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _fastapi(way: str) -> Any:
    from fastapi import FastAPI
    from pydantic import BaseModel, Field

    class Message(BaseModel):
        role: Literal["system", "user", "assistant"]
        content: str

    class ChatRequest(BaseModel):
        model: str
        messages: list[Message] = Field(min_length=1)
        max_tokens: int | None = Field(None, ge=1)
        temperature: float = Field(1.0, ge=0, le=2)
        top_p: float = Field(1.0, gt=0, le=1)
        n: int = Field(1, ge=1, le=16)
        stop: list[str] | None = None
        seed: int | None = None
        stream: bool = False

    class Said(BaseModel):
        role: str
        content: str

    class Choice(BaseModel):
        index: int
        finish_reason: str
        message: Said

    class Usage(BaseModel):
        prompt_tokens: int
        completion_tokens: int
        total_tokens: int

    class ChatResponse(BaseModel):
        id: str
        object: str
        created: int
        model: str
        choices: list[Choice]
        usage: Usage

    app = FastAPI()
    ask = {"in process": _stub_in_process, "httpx": _over_httpx(), "aiohttp": _over_aiohttp()}[way]

    # The annotations are names of this function, which FastAPI cannot look up as text.
    async def chat(request: Any) -> Any:
        return await ask(request.model_dump(exclude_none=True))

    chat.__annotations__ = {"request": ChatRequest, "return": ChatResponse}
    app.post("/v1/chat/completions")(chat)
    return app


async def _stub_in_process(body: dict[str, Any]) -> dict[str, Any]:
    return REPLY


def _over_httpx() -> Any:
    client: Any = None

    async def ask(body: dict[str, Any]) -> Any:
        nonlocal client
        if client is None:
            import httpx

            client = httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=os.environ[SOCKET]))
        return (await client.post("http://stub/v1/chat/completions", json=body)).json()

    return ask


def _over_aiohttp() -> Any:
    session: Any = None

    async def ask(body: dict[str, Any]) -> Any:
        nonlocal session
        if session is None:
            import aiohttp

            session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(os.environ[SOCKET], limit=0))
        async with session.post("http://stub/v1/chat/completions", json=body) as response:
            return await response.json()

    return ask


def ours_in_process() -> Any:
    """Our web process with the stub as a function: everything but the way to the model server."""
    from contextlib import asynccontextmanager

    from finetune_site.asgi import application
    from serving_app.gateway import answering

    class Told:
        address = "in process"

        async def whole_body(self) -> dict[str, Any]:
            return dict(await _stub_in_process({}))

    @asynccontextmanager
    async def asked(path: str, body: dict[str, Any], serving_id: str = "") -> Any:
        yield Told()

    answering.asked = asked
    return application


def fastapi_in_process() -> Any:
    """FastAPI with the stub as a function (``uvicorn --factory``)."""
    return _fastapi("in process")


def fastapi_httpx() -> Any:
    """FastAPI with the stub behind HTTP, asked with httpx."""
    return _fastapi("httpx")


def fastapi_aiohttp() -> Any:
    """FastAPI with the stub behind HTTP, asked with aiohttp."""
    return _fastapi("aiohttp")
