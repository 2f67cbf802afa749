"""What stands between a program and the model: our web process with keys, limits, validation and the log, against FastAPI with
the same stub model; its latency beside a bare ASGI application; the exact cache; and what kill -9 costs the log.

Every server is one uvicorn process. Rates are requests per CPU-second of that process (its threads included, the stub's and the
client's own processes not), arms in turns, medians.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.serving_clients import Connection, Told, chat_body, closed_loop, open_loop

ROOT = Path(__file__).resolve().parent.parent
REQUESTS = {False: 1_500, True: 4_000}
REPEATS = {False: 3, True: 5}
OPEN_SECONDS = {False: 6.0, True: 20.0}
RATE = 75.0
CACHE_QUESTIONS = 20
GOALS = {"fastapi": 1.0, "stretch": 3.0, "p95_ms": 12.0, "cache": 20.0}
ARMS = {
    "bare ASGI": ["benchmarks.serving_arms:bare", "--lifespan=off"],
    "FastAPI, stub in process": ["benchmarks.serving_arms:fastapi_in_process", "--factory"],
    "FastAPI, stub over HTTP (httpx)": ["benchmarks.serving_arms:fastapi_httpx", "--factory"],
    "FastAPI, stub over HTTP (aiohttp)": ["benchmarks.serving_arms:fastapi_aiohttp", "--factory"],
}
OURS = "ours, stub over HTTP"
OURS_IN_PROCESS = "ours, stub in process"
SITE = ["finetune_site.asgi:application", "--lifespan=on"]


@dataclass
class Server:
    """A uvicorn process and the port it listens at."""

    process: subprocess.Popen[bytes]
    port: int

    def cpu_seconds(self) -> float:
        """What it has used so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)


@dataclass
class House:
    """Our site in a folder of its own, and a key to it."""

    environment: dict[str, str]
    key: str
    database: Path


def measure(*, full: bool = False) -> dict[str, dict[str, Any]]:
    """All parts; the goals are in GOALS."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        house = make_house(Path(folder))
        servers = {name: running.enter_context(serve(words, house.environment)) for name, words in ARMS.items()}
        servers[OURS] = running.enter_context(our_site(house))
        words = ["benchmarks.serving_arms:ours_in_process", "--factory"]
        servers[OURS_IN_PROCESS] = running.enter_context(serve(words, house.environment))
        results = rates(servers, house, count=REQUESTS[full], repeats=REPEATS[full])
        results |= latency(servers, house, seconds=OPEN_SECONDS[full])
        results |= killed(house)
        return results | cache(house)


def make_house(folder: Path) -> House:
    """A migrated site with one project, the demo model in use, a key with the scope predict and limits that are counted but
    never met; and the stub announced as its model server, running until the folder goes."""
    socket = folder / "stub.sock"
    environment = {
        **os.environ,
        "DATA_DIR": str(folder / "data"),
        "DATABASE_URL": "",
        "LOG_LEVEL": "WARNING",
        "KEY_REQUESTS_PER_MINUTE": "1000000",
        "STUB_SOCKET": str(socket),
        "DJANGO_SETTINGS_MODULE": "finetune_site.settings",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "-v0", "--skip-checks"], cwd=ROOT, env=environment, check=True
    )
    made = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving_house"],
        cwd=ROOT, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return House(environment, made.stdout.strip().splitlines()[-1], folder / "data" / "tunesmith.sqlite3")


@contextmanager
def serve(words: list[str], environment: dict[str, str]) -> Iterator[Server]:
    """A uvicorn process, until the end of the block."""
    port = _free_port()
    program = [sys.executable, "-m", "uvicorn", *words, "--host=127.0.0.1", f"--port={port}", "--log-level=error"]
    process = subprocess.Popen([*program, "--no-access-log"], cwd=ROOT, env=environment)
    try:
        _wait_for_port(port, process)
        yield Server(process, port)
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def our_site(house: House) -> Iterator[Server]:
    """Our web process with the stub as its model server."""
    stub = [sys.executable, "-m", "uvicorn", "benchmarks.serving_arms:bare", "--lifespan=off", "--no-access-log"]
    socket = house.environment["STUB_SOCKET"]
    process = subprocess.Popen([*stub, f"--uds={socket}", "--log-level=error"], cwd=ROOT, env=house.environment)
    try:
        while not Path(socket).exists():
            time.sleep(0.05)
        with serve(SITE, house.environment) as server:
            yield server
    finally:
        process.terminate()
        process.wait(20)


def rates(servers: dict[str, Server], house: House, *, count: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Requests per CPU-second of each arm."""
    taken: dict[str, list[float]] = {name: [] for name in servers}
    for repeat in range(repeats + 1):
        for name, server in servers.items():
            before = server.cpu_seconds()
            told = asyncio.run(closed_loop(server.port, house.key, count if repeat else 300))
            if told.errors:
                raise SystemExit(f"serving: {name} answered {told.errors[:5]}")
            if repeat:  # the first round warms up
                taken[name].append(count / (server.cpu_seconds() - before))
    rate = {name: statistics.median(values) for name, values in taken.items()}
    told_rates = {f"requests per CPU-second, {name}": value for name, value in rate.items()}
    return {
        f"gateway, times {name}": {
            "value": rate[OURS_IN_PROCESS if "in process" in name else OURS] / rate[name],
            "unit": "x requests per CPU-second",
            "goal": f">= {GOALS['fastapi']:g} (stretch {GOALS['stretch']:g})" if "FastAPI" in name else "none (floor)",
            "arms": told_rates,
        }
        for name in ARMS
    }


def latency(servers: dict[str, Server], house: House, *, seconds: float) -> dict[str, dict[str, Any]]:
    """Ours and the floor at RATE questions a second, half and half, twice."""
    names = ("bare ASGI", OURS)
    told = {name: Told() for name in names}
    for _ in range(2):
        for name in names:
            found = asyncio.run(open_loop(servers[name].port, house.key, RATE, seconds / 2))
            told[name].seconds += found.seconds
            told[name].errors += found.errors
    arms: dict[str, float] = {}
    for name in names:
        arms |= {f"{name}, p{p}, ms": told[name].percentile(p / 100) * 1000 for p in (50, 95, 99)}
        arms[f"{name}, errors of {len(told[name].seconds)}"] = len(told[name].errors)
    value = told[OURS].percentile(0.95) * 1000
    return {
        f"gateway, p95 at {RATE:g} requests/s": {
            "value": value, "unit": "ms", "goal": f"<= {GOALS['p95_ms']:g} (aim), 0 errors", "arms": arms,
        }
    }  # fmt: skip


def killed(house: House) -> dict[str, dict[str, Any]]:
    """How old the oldest answered question was that kill -9 took out of the log."""
    import sqlite3

    with serve(SITE, house.environment) as server:
        told = asyncio.run(_ask_until_killed(server, house.key))
        died = time.time()
    with sqlite3.connect(house.database) as connection:
        written = {row[0] for row in connection.execute("SELECT request_id FROM serving_prediction")}
    lost = [died - at for request_id, at in told.ids if request_id not in written]
    return {
        "log, age of the oldest entry lost by kill -9": {
            "value": max(lost, default=0.0),
            "unit": "s",
            "goal": "<= 1",
            "arms": {"answered": float(len(told.ids)), "lost": float(len(lost))},
        }
    }


async def _ask_until_killed(server: Server, key: str, seconds: float = 3.0) -> Told:
    asking = asyncio.create_task(open_loop(server.port, key, 2 * RATE, 60.0))
    told = Told()
    connection = await Connection(server.port, key).open()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        _, head, _ = await connection.ask(chat_body(1))
        told.ids.append((head.split(b"x-request-id: ")[1][:26].decode(), time.time()))
    os.kill(server.process.pid, signal.SIGKILL)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return told


def cache(house: House) -> dict[str, dict[str, Any]]:
    """The same questions to the demo model twice, one after the other; wall time, for a miss waits for another process."""
    environment = {name: value for name, value in house.environment.items() if name != "STUB_SOCKET"}
    model = subprocess.Popen([sys.executable, "manage.py", "inference"], cwd=ROOT, env=environment)
    try:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.serving_house", "wait"], cwd=ROOT, env=environment, check=True
        )
        with serve(SITE, environment) as server:
            misses, hits = asyncio.run(_twice(server.port, house.key))
    finally:
        model.terminate()
        model.wait(30)
    miss, hit = statistics.median(misses), statistics.median(hits)
    return {
        "exact cache, a hit against a miss": {
            "value": miss / hit,
            "unit": "x faster (wall time)",
            "goal": f">= {GOALS['cache']:g}",
            "arms": {"miss, ms": miss * 1000, "hit, ms": hit * 1000},
        }
    }


async def _twice(port: int, key: str) -> tuple[list[float], list[float]]:
    connection = await Connection(port, key).open()
    rounds: list[list[float]] = [[], []]
    for seconds in rounds:
        for number in range(CACHE_QUESTIONS):
            body = chat_body(number).replace(b'"temperature":0.7', b'"temperature":0')
            begun = time.perf_counter()
            status, _, content = await connection.ask(body)
            seconds.append(time.perf_counter() - begun)
            if status != 200:
                raise SystemExit(f"serving: the model answered {status}: {content[:200]!r}")
    connection.close()
    return rounds[0], rounds[1]


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    import socket

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit("serving: a server ended at its start")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("serving: a server did not start")
