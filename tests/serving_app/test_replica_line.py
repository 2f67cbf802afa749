"""The connection to a model server: whatever comes over it, each question gets its own answer or an error."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable

import pytest

from serving_app.replicas.line import BrokenOff, Line, Unreached, head_for, keep_line, open_line
from serving_app.replicas.pool import Channel

Say = Callable[[asyncio.StreamWriter, int, bytes], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def _whole(body: bytes) -> bytes:
    return OK + b"content-length: %d\r\n\r\n%b" % (len(body), body)


def _chunked(body: bytes) -> bytes:
    parts = [body[start : start + 3] for start in range(0, len(body), 3)]
    return (
        OK
        + b"transfer-encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts)
        + b"0\r\n\r\n"
    )


class Server:
    """Answers question after question with ``say(writer, number of the question on this connection, its body)``."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.open = 0

    async def __aenter__(self) -> Channel:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return Channel(f"http://127.0.0.1:{port}", session=None)  # type: ignore[arg-type]  # for health checks only

    async def __aexit__(self, *error: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            for number in range(1_000):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await self._say(writer, number, await reader.readexactly(length))
                await writer.drain()
        except (EOFError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


async def _ask(channel: Channel, body: bytes, line: Line | None = None) -> bytes:
    line = line or await open_line(channel)
    try:
        await line.ask(head_for(channel.address, "/v1/completions"), body)
        return await line.read()
    finally:
        keep_line(channel, line)


def _answers(say: Say, *questions: bytes) -> list[bytes | None]:
    """What each question got, one after the other; None for a connection that was of no use."""

    async def ask_all() -> list[bytes | None]:
        told: list[bytes | None] = []
        async with Server(say) as channel:
            for question in questions:
                try:
                    told.append(await asyncio.wait_for(_ask(channel, question), 5))
                except (Unreached, BrokenOff):
                    told.append(None)
                await asyncio.sleep(0.05)
        return told

    return asyncio.run(ask_all())


@pytest.mark.parametrize("wrap", [_whole, _chunked])
def test_an_answer_may_come_byte_by_byte(wrap) -> None:
    async def say(writer, number, body) -> None:
        for value in wrap(body):
            writer.write(bytes([value]))
            await asyncio.sleep(0)

    assert _answers(say, b"first", b"second") == [b"first", b"second"]


@pytest.mark.parametrize("surplus", [_whole(b"evil"), _chunked(b"evil"), _whole(b"evil")[:40], b"nonsense"])
@pytest.mark.parametrize("gap", [0.0, 0.005])
def test_what_follows_an_answer_is_nobodys(surplus, gap) -> None:
    async def say(writer, number, body) -> None:
        if gap:
            writer.write(_whole(body))
            await asyncio.sleep(gap)
            writer.write(surplus)
        else:
            writer.write(_whole(body) + surplus)

    assert _answers(say, b"first", b"second", b"third") == [b"first", b"second", b"third"]


@pytest.mark.parametrize("hint", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"])
def test_what_comes_before_the_answer_is_not_taken_for_it(hint) -> None:
    async def say(writer, number, body) -> None:
        writer.write(hint + _whole(body))

    assert _answers(say, b"first", b"second") == [b"first", b"second"]


def test_an_answer_that_stops_in_the_middle_is_an_error_and_the_next_one_is_whole() -> None:
    async def say(writer, number, body) -> None:
        if body == b"first":
            writer.write(_whole(body)[:-2])
            writer.close()
        else:
            writer.write(_whole(body))

    assert _answers(say, b"first", b"second") == [None, b"second"]


def test_a_length_and_chunks_at_once_are_no_answer() -> None:
    async def say(writer, number, body) -> None:
        writer.write(_chunked(body).replace(b"\r\n\r\n", b"\r\ncontent-length: 3\r\n\r\n", 1))

    assert _answers(say, b"first", b"second") == [None, None]


def test_in_a_storm_nobody_hears_anothers_answer_and_no_connection_is_lost() -> None:
    dice = random.Random(7)

    async def say(writer, number, body) -> None:
        answer = dice.choice([_whole, _chunked])(body)
        fate = dice.random()
        cut = dice.randrange(len(answer))
        writer.write(answer[:cut])
        await asyncio.sleep(dice.random() * 0.004)
        if fate < 0.1:
            writer.close()  # in the middle
            return
        writer.write(answer[cut:] + (_whole(b'{"id": "stray"}') if fate < 0.2 else b""))
        if fate > 0.9:
            writer.close()  # it said that it would keep it

    async def storm() -> int:
        server, right, kept = Server(say), 0, set()
        async with server as channel:

            async def one(number: int) -> bool:
                body = json.dumps({"id": number, "text": "x" * dice.randrange(200)}).encode()
                line = await open_line(channel)
                kept.add(line)
                try:
                    async with asyncio.timeout(dice.choice([0.002, 60, 60])):  # some leave
                        told = await _ask(channel, body, line)
                except (Unreached, BrokenOff, TimeoutError):
                    return False
                assert told == body
                return True

            for start in range(0, 600, 20):
                right += sum(await asyncio.gather(*(one(start + number) for number in range(20))))
            assert not channel.unheard
            async with asyncio.timeout(60):  # both sides agree on what is open, and in the end nothing is
                while server.open != sum(not line.is_lost for line in kept):
                    await asyncio.sleep(0.01)
                for line in kept:
                    line.close()
                while server.open:
                    await asyncio.sleep(0.01)
            return right

    assert asyncio.run(storm()) > 200
