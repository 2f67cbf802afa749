"""Speaking to a replica."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from finetune_engine.errors import UserError
from serving_app.replicas.line import BrokenOff, Line, Unreached, head_for, keep_line, open_line
from serving_app.replicas.pool import Channel, NoReplica, replica_pool

_ELSEWHERE = (429, 503)
"""A replica that says so has done nothing for the question: it is full, or about to end."""


class Response:
    """A replica's answer, its status known (200) and its body still to be read."""

    def __init__(self, line: Line, address: str) -> None:
        self._line = line
        self.address = address

    async def whole_body(self) -> dict[str, Any]:
        """The JSON of an answer that does not stream."""
        body: dict[str, Any] = orjson.loads(await self._line.read())
        return body

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """The JSON objects of a stream of server-sent events, up to ``[DONE]``."""
        rest = b""
        is_done = False
        async for piece in self._line.pieces():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if not line.startswith(b"data:") or is_done:
                    continue
                data = line[5:].strip()
                if data == b"[DONE]":
                    is_done = True  # what follows is only the end of the body
                else:
                    yield orjson.loads(data)
        if not is_done:
            raise BrokenOff


@asynccontextmanager
async def asked(path: str, body: dict[str, Any], serving_id: str = "") -> AsyncIterator[Response]:
    """A replica's response. One that cannot be reached, or that falls silent before the first byte of its answer, is ejected
    and the next one asked: so far the caller has heard nothing. After that byte nobody else is asked. Raises NoReplica when none
    is left and UserError for a refusal. A caller who leaves takes the connection along, so that the replica notices."""
    pool = replica_pool()
    data = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
    tried: frozenset[str] = frozenset()
    refusal: UserError = NoReplica()
    while True:
        try:
            async with pool.borrow(tried, serving_id) as channel:
                tried |= {channel.address}
                line = await _sent(channel, path, data)
                if line is None:
                    pool.eject(channel)
                    continue
                try:
                    if line.status == 200:
                        yield Response(line, channel.address)
                        return
                    refusal = await _refusal(line)
                    if line.status not in _ELSEWHERE:
                        raise refusal
                except TimeoutError as error:
                    raise _too_long() from error
                except (BrokenOff, ValueError) as error:
                    raise _broke_off() from error
                finally:
                    keep_line(channel, line)
        except NoReplica:
            raise refusal from None


async def _sent(channel: Channel, path: str, data: bytes) -> Line | None:
    """The connection on which an answer has begun; None when the replica cannot be reached. One that was kept may have been
    closed by the other side just now, so a fresh one is tried."""
    for is_fresh in (False, True):
        try:
            line = await open_line(channel, fresh=is_fresh)
        except Unreached:
            return None
        try:
            await line.ask(head_for(channel.address, path), data)
            return line
        except Unreached:
            line.end()
        except TimeoutError as error:
            line.end()
            raise _too_long() from error
        except BaseException:
            line.end()
            raise
    return None


def _too_long() -> UserError:
    return UserError("timeout", "The model took too long to answer. Ask for fewer tokens.", status=504)


def _broke_off() -> UserError:
    return UserError("model_failed", "The model server broke off its answer. Try again.", status=502)


async def _refusal(line: Line) -> UserError:
    try:
        error = orjson.loads(await line.read())["error"]
        message, code, param = str(error["message"]), str(error.get("code") or ""), error.get("param")
    except (ValueError, KeyError, TypeError):
        message, code, param = "The model server gave no reason.", "", None
    refusal = UserError(code or "model_failed", message, param, status=line.status)
    if line.retry_after.isdigit():
        refusal.retry_after = int(line.retry_after)  # type: ignore[attr-defined]  # read by the gateway
    return refusal
