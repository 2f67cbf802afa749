"""Streams that outlive the request that opened them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from django.http import HttpRequest

from web_kit.long_streams import OPENED_AT_ONCE, StreamsAfterRequests, long_stream

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [(b"accept", b"text/event-stream")]}


class Shop:
    """Stands where Django stands; counts the requests it is busy with."""

    def __init__(self, chunks: AsyncGenerator[bytes, None] | None, *, status: int = 200) -> None:
        self.chunks, self.status = chunks, status
        self.busy = self.most_busy = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        request = HttpRequest()
        request.scope = scope  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        if self.chunks is not None:
            response = long_stream(request, self.chunks, content_type="text/event-stream")
            assert not response.streaming
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b"page"})
        self.busy -= 1


async def _nobody_leaves() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


def _answer(shop: Shop, receive: Any = _nobody_leaves) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(StreamsAfterRequests(shop)(dict(SCOPE), receive, send))
    return sent


async def _two(shop_is_free: list[int]) -> AsyncGenerator[bytes, None]:
    shop_is_free.append(1)
    yield b"one"
    yield b"two"


def test_the_bytes_are_sent_once_the_request_is_over():
    began: list[int] = []
    shop = Shop(_two(began))
    sent = _answer(shop)
    assert [message.get("body") for message in sent[1:]] == [b"one", b"two", b""]
    assert sent[0]["headers"] == [], "a stream has no length"
    assert shop.busy == 0


def test_a_page_passes_through_as_it_is():
    assert [message.get("body") for message in _answer(Shop(None))] == [None, b"page"]


def test_an_answer_that_became_a_refusal_is_sent_instead_of_the_stream():
    sent = _answer(Shop(_two([]), status=403))
    assert [message.get("body") for message in sent] == [None, b"page"]


def test_the_stream_is_closed_when_its_reader_leaves():
    closed: list[bool] = []

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            yield b"one"
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def leave() -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    _answer(Shop(endless()), leave)
    assert closed == [True]


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""


async def _sent(message: Any) -> None:
    await asyncio.sleep(0)


def _crowd(shop: Shop, scope: dict[str, Any], send: Any = _sent) -> None:
    middleware = StreamsAfterRequests(shop)

    async def come() -> None:
        await asyncio.gather(*(middleware(dict(scope), _nobody_leaves, send) for _ in range(20)))

    asyncio.run(come())


def test_of_a_crowd_only_a_few_are_let_in_at_a_time():
    shop = Shop(_nothing())
    _crowd(shop, SCOPE)
    assert shop.most_busy == OPENED_AT_ONCE


def test_whoever_takes_long_to_read_what_is_no_stream_keeps_nobody_out():
    waiting = 0
    everybody_is_in = asyncio.Event()

    async def slow(message: Any) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 20:
            everybody_is_in.set()
        await asyncio.wait_for(everybody_is_in.wait(), 10)

    _crowd(Shop(None), SCOPE, slow)
    assert waiting >= 20


@pytest.mark.parametrize("header", [(b"content-length", b"9"), (b"transfer-encoding", b"chunked")])
def test_a_body_that_could_be_drawn_out_is_not_waited_for_at_the_door(header):
    shop = Shop(_nothing())
    _crowd(shop, SCOPE | {"headers": [*SCOPE["headers"], header]})
    assert shop.most_busy > OPENED_AT_ONCE
