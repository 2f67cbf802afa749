"""Asking a server over kept connections: as fast as it answers (closed loop), or at a steady pace (open loop)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson


@dataclass
class Told:
    """What came back: seconds of each answer, counted from the moment it was due; statuses other than 200; and, where asked
    for, ``(request id, when it came)``."""

    seconds: list[float] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    ids: list[tuple[str, float]] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Seconds under which this share of the answers came."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


Body = Callable[[int], bytes]


def chat_body(number: int) -> bytes:
    """A question of ordinary length, another one each time, that no cache may answer."""
    text = f"Clause {number}: when does the tenant have to pay, and what happens when the rent comes late? " * 3
    return orjson.dumps(
        {
            "model": "production",
            "messages": [{"role": "system", "content": "Answer in one sentence."}, {"role": "user", "content": text}],
            "max_tokens": 64,
            "temperature": 0.7,
        }
    )


class Connection:
    """One kept connection."""

    def __init__(self, port: int, key: str, path: str = "/v1/chat/completions") -> None:
        self._port = port
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nAccept: */*\r\nUser-Agent: benchmark\r\nContent-Length: "
        ).encode()

    async def open(self) -> Connection:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def ask(self, body: bytes) -> tuple[int, bytes, bytes]:
        """``(status, head, body)`` of the answer. Raises OSError when the server goes."""
        self._writer.write(self._head + b"%d\r\n\r\n" % len(body) + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        return int(head[9:12]), head, await self._reader.readexactly(length)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def closed_loop(port: int, key: str, count: int, *, connections: int = 16, body: Body = chat_body) -> Told:
    """``count`` questions, as many at a time as there are connections."""
    told, numbers = Told(), iter(range(count))

    async def ask_on(connection: Connection) -> None:
        for number in numbers:
            begun = time.perf_counter()
            _note(told, begun, await connection.ask(body(number)))

    there = [await Connection(port, key).open() for _ in range(connections)]
    await asyncio.gather(*(ask_on(connection) for connection in there))
    for connection in there:
        connection.close()
    return told


async def open_loop(port: int, key: str, rate: float, seconds: float, *, body: Body = chat_body) -> Told:
    """``rate`` questions a second whether or not the earlier ones are answered; a late start counts as waiting."""
    told, free = Told(), [await Connection(port, key).open() for _ in range(4)]
    begun = time.perf_counter()

    async def ask(number: int, due: float) -> None:
        connection = free.pop() if free else await Connection(port, key).open()
        _note(told, due, await connection.ask(body(number)))
        free.append(connection)

    tasks = []
    for number in range(int(rate * seconds)):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(number, due)))
    await asyncio.gather(*tasks)
    for connection in free:
        connection.close()
    return told


def _note(told: Told, due: float, answer: tuple[int, bytes, bytes]) -> None:
    status, head, _ = answer
    told.seconds.append(time.perf_counter() - due)
    if status != 200:
        told.errors.append(status)
    elif (place := head.find(b"x-request-id: ")) > 0:
        told.ids.append((head[place + 14 : place + 40].decode(), time.time()))
