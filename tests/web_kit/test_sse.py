"""Server-sent events: the wire format, silence, and readers that go away."""

from __future__ import annotations

import asyncio
import json
import math

import pytest
from django.test import RequestFactory

from web_kit.sse import ServerSentEvent, format_event, last_event_id, sse_response, with_heartbeat


def test_a_message_has_its_id_its_kind_and_json():
    text = format_event(ServerSentEvent({"step": 3, "label": "Größe"}, "metric", 17, retry_ms=2000)).decode()
    assert text == 'retry: 2000\nid: 17\nevent: metric\ndata: {"step":3,"label":"Größe"}\n\n'


def test_line_breaks_in_text_stay_inside_the_message():
    text = format_event(ServerSentEvent("one\r\ntwo\rthree\nfour")).decode()
    assert text == "data: one\ndata: two\ndata: three\ndata: four\n\n"


@pytest.mark.parametrize("bad", ["a\nevent: end", "a\rb", "a\0b"])
def test_a_kind_or_id_cannot_smuggle_a_second_field(bad):
    with pytest.raises(ValueError, match="one line"):
        format_event(ServerSentEvent({}, event=bad))
    with pytest.raises(ValueError, match="one line"):
        format_event(ServerSentEvent({}, id=bad))


def test_numbers_that_are_none_are_spelled_so_that_browsers_can_read_the_json():
    text = format_event(ServerSentEvent({"a": math.nan, "b": [math.inf, {"c": -math.inf}]})).decode()
    assert json.loads(text.removeprefix("data: ")) == {"a": "nan", "b": ["inf", {"c": "-inf"}]}


async def test_silence_is_filled_with_comments_and_no_message_is_lost():
    async def slow():
        yield ServerSentEvent(1)
        await asyncio.sleep(0.12)
        yield ServerSentEvent(2)

    parts = [part async for part in with_heartbeat(slow(), 0.05)]
    assert [p for p in parts if p.startswith(b"data")] == [b"data: 1\n\n", b"data: 2\n\n"]
    assert any(p.startswith(b":") for p in parts)


async def test_a_reader_that_leaves_closes_the_source():
    closed = asyncio.Event()

    async def endless():
        try:
            while True:
                yield ServerSentEvent("x")
                await asyncio.sleep(10)
        finally:
            closed.set()

    stream = with_heartbeat(endless(), 0.01)
    assert await anext(stream) == b"data: x\n\n"
    assert (await anext(stream)).startswith(b":")
    await stream.aclose()
    assert closed.is_set()


async def test_a_source_that_fails_tells_the_server():
    async def broken():
        yield ServerSentEvent("x")
        raise RuntimeError("the database is gone")

    stream = with_heartbeat(broken(), 5)
    await anext(stream)
    with pytest.raises(RuntimeError, match="database"):
        await anext(stream)


async def test_the_response_is_not_held_back_by_proxies():
    async def one():
        yield ServerSentEvent("x", id=1)

    response = sse_response(one())
    assert response["Content-Type"].startswith("text/event-stream")
    assert response["X-Accel-Buffering"] == "no"
    assert "no-cache" in response["Cache-Control"]
    assert [part async for part in response] == [b"id: 1\ndata: x\n\n"]


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        ({"Last-Event-ID": "41"}, {"after": "7"}, 41),
        ({}, {"after": "7"}, 7),
        ({"Last-Event-ID": "-1"}, {}, 0),
        ({"Last-Event-ID": "²"}, {}, 0),
        ({"Last-Event-ID": "9" * 40}, {}, 0),
        ({}, {}, 0),
    ],
)
def test_the_reader_says_where_it_stopped(headers, query, expected):
    assert last_event_id(RequestFactory().get("/x", query, headers=headers)) == expected
