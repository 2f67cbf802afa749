"""The readers of ``benchmarks.streams``: a process of their own that is told line by line what to do."""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import threading
import time
from typing import cast

RECONNECT_SECONDS = 2.0  # readers come back within so long, each at a moment of their own


class Reader(asyncio.Protocol):
    """One reader: what an EventSource does. What arrives is put aside with its moment and read at the end, because a
    crowd that reckons would be measured too: it runs on the same machine."""

    def __init__(self, port: int, path: str, cookie: str) -> None:
        self.port, self.path, self.cookie = port, path, cookie
        self.arrived: list[tuple[float, bytes]] = []
        self.fresh_from: list[float] = []
        self.is_open = self.has_ended = self.has_left = False
        self._ids: list[int] = []
        self._lost = asyncio.Event()

    async def read(self) -> None:
        """Until the job's end, across broken connections."""
        while not (self.has_ended or self.has_left):
            self._lost.clear()
            try:
                await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self.port)
            except OSError:
                pass
            else:
                await self._lost.wait()
            self.is_open = False
            if not self.has_ended:
                await asyncio.sleep(random.uniform(0.5, RECONNECT_SECONDS))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask, from the last event that came."""
        self._begun = b""
        self.transport = cast(asyncio.Transport, transport)
        lines = [f"GET {self.path} HTTP/1.1", f"Host: localhost:{self.port}", f"Last-Event-ID: {self.last_id()}"]
        lines += [f"Cookie: sessionid={self.cookie}", "Accept: text/event-stream", "", ""]
        self.transport.write("\r\n".join(lines).encode())

    def data_received(self, data: bytes) -> None:
        """Put it aside."""
        if not self.is_open:
            self._begun += data
            self.is_open = b"\r\n\r\n" in self._begun and self._begun.startswith(b"HTTP/1.1 200")
            self.fresh_from.append(time.time())
        self.arrived.append((time.time(), data))
        if b"event: end" in data:
            self.has_ended = True
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """What was cut off in the middle never arrived."""
        while self.arrived and not self.arrived[-1][1].rstrip(b"\r\n0").endswith(b"}"):
            self.arrived.pop()
        self._lost.set()

    def leave(self) -> None:
        """Go without the end."""
        self.has_left = True
        if not self.has_ended and hasattr(self, "transport"):
            self.transport.close()

    def last_id(self) -> int:
        """The id that EventSource would send."""
        return max((ids[-1] for _at, data in self.arrived if (ids := _ids_in(data))), default=0)

    @property
    def ids(self) -> list[int]:
        """Every id, in the order in which they came."""
        return [number for _at, data in self.arrived for number in _ids_in(data)]

    @property
    def heard(self) -> list[tuple[float, float]]:
        """``(moment it was said, seconds until it came)`` of what was said while this reader was there."""
        found = []
        for at, data in self.arrived:
            since = max((moment for moment in self.fresh_from if moment <= at), default=at)
            said = [float(text) for text in re.findall(rb'"said_at":([0-9.]+)', data)]
            found += [(moment, at - moment) for moment in said if moment > since]
        return found


def _ids_in(data: bytes) -> list[int]:
    return [int(text) for text in re.findall(rb"(?m)^id: ([0-9]+)$", data)]


async def _crowd(port: int, path: str, cookie: str, count: int) -> None:
    orders: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    threading.Thread(
        target=lambda: [loop.call_soon_threadsafe(orders.put_nowait, line.strip()) for line in sys.stdin], daemon=True
    ).start()
    lags: list[float] = []
    storm: list[float] = []
    calm: list[tuple[float, float]] = []  # stretches of time in which all readers were there
    calm_since = 0.0
    readers: list[Reader] = []
    tasks: list[asyncio.Task[None]] = []
    while True:
        order = await orders.get()
        if order == "enter":
            readers = [Reader(port, path, cookie) for _ in range(count)]
            tasks = [asyncio.create_task(reader.read()) for reader in readers]
        if order in {"enter", "back"}:
            await asyncio.sleep(RECONNECT_SECONDS if order == "back" else 0)
            while not all(reader.is_open or reader.has_ended for reader in readers):
                await asyncio.sleep(0.05)
            calm_since = time.time()
        if order == "report":
            await asyncio.wait_for(asyncio.gather(*tasks), 60)
        if order in {"storm", "leave", "report"}:
            calm.append((calm_since, time.time()))
        if order in {"leave", "report"}:
            for reader in readers:
                reader.leave()
            heard = [pair for reader in readers for pair in reader.heard]
            lags += [lag for at, lag in heard if any(since <= at <= until for since, until in calm)]
            storm += [lag for at, lag in heard if calm[-2:] and len(calm) > 1 and calm[-2][1] < at < calm[-1][0]]
            await asyncio.sleep(1.0 if order == "leave" else 0)
        if order == "report":
            print(json.dumps({"ids": [reader.ids for reader in readers], "lags": lags, "storm": storm}), flush=True)
            return
        print("done", flush=True)


if __name__ == "__main__":
    import uvloop

    uvloop.run(_crowd(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
