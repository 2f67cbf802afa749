"""Speaking to a replica."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from finetune_engine.errors import UserError
from serving_app.replicas import replica_pool

_UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)


@asynccontextmanager
async def asked(path: str, body: dict[str, Any]) -> AsyncIterator[httpx.Response]:
    """A replica's response, its status known and its body still to be read. A replica that cannot be reached is
    ejected and the next one asked. Raises NoReplica when none is left, UserError for a refusal, and lets the
    replica know when the caller leaves (the connection is closed)."""
    pool = replica_pool()
    tried: frozenset[str] = frozenset()
    while True:
        async with pool.borrow(tried) as channel:
            try:
                request = channel.client.build_request("POST", path, json=body)
                response = await channel.client.send(request, stream=True)
            except _UNREACHABLE:
                pool.eject(channel)
                tried |= {channel.address}
                continue
            try:
                if response.status_code != 200:
                    raise await _refusal(response)
                yield response
                return
            except httpx.TimeoutException as error:
                raise UserError(
                    "timeout", "The model took too long to answer. Ask for fewer tokens.", status=504
                ) from error
            except httpx.HTTPError as error:
                raise UserError(
                    "model_failed", "The model server broke off its answer. Try again.", status=502
                ) from error
            finally:
                await response.aclose()


async def whole_body(response: httpx.Response) -> dict[str, Any]:
    """The JSON of an answer that does not stream."""
    body: dict[str, Any] = json.loads(await response.aread())
    return body


async def chunks_of(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a stream of server-sent events, up to ``[DONE]``."""
    async for line in response.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            return
        yield json.loads(data)


async def _refusal(response: httpx.Response) -> UserError:
    try:
        error = json.loads(await response.aread())["error"]
        message, code, param = str(error["message"]), str(error.get("code") or ""), error.get("param")
    except (ValueError, KeyError, TypeError):
        message, code, param = "The model server gave no reason.", "", None
    refusal = UserError(code or "model_failed", message, param, status=response.status_code)
    if (wait := response.headers.get("Retry-After", "")).isdigit():
        refusal.retry_after = int(wait)  # type: ignore[attr-defined]  # read by the gateway
    return refusal
