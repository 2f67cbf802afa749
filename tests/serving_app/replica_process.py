"""Stub replicas as processes of their own, and a load of questions from threads."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

PROGRAM = Path(__file__).with_name("stub_replica.py")


class StubReplica:
    """One process; ``kill`` is kill -9, ``start`` begins at the same address again."""

    def __init__(self, address: str, **options: Any) -> None:
        self.address, self.options = address, options
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        if self.address.startswith("unix:"):
            Path(self.address.removeprefix("unix:")).unlink(missing_ok=True)
        program = [sys.executable, str(PROGRAM), self.address, "--options", json.dumps(self.options)]
        self.process = subprocess.Popen(program)
        end = time.monotonic() + 30
        while not self.is_up():
            assert self.process.poll() is None, "the stub ended"
            assert time.monotonic() < end, "the stub did not start"
            time.sleep(0.05)

    def client(self) -> httpx.Client:
        if self.address.startswith("unix:"):
            transport = httpx.HTTPTransport(uds=self.address.removeprefix("unix:"))
            return httpx.Client(transport=transport, base_url="http://stub", timeout=60)
        return httpx.Client(base_url=self.address, timeout=60, trust_env=False)

    def is_up(self) -> bool:
        try:
            with self.client() as client:
                return client.get("/health").status_code == 200
        except httpx.HTTPError:
            return False

    def told(self) -> dict[str, Any]:
        with self.client() as client:
            return dict(client.get("/counts").json())

    def change(self, **options: Any) -> None:
        with self.client() as client:
            client.post("/options", json=options)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.thaw()
            self.kill()


def until(condition: Callable[[], object], seconds: float = 60) -> float:
    """Seconds until the condition held. The limit is for a machine that stands still, not for a slow one."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen"
        time.sleep(0.01)
    return time.monotonic() - began


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


class Load:
    """Threads that ask ``/predict`` one question after the other until told to stop; what they got."""

    def __init__(self, site: str, key: str, threads: int = 6) -> None:
        self.site, self.key = site, key
        self.statuses: Counter[int] = Counter()
        self.answers: Counter[str] = Counter()
        self.slowest = 0.0
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def errors(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != 200)

    def _ask(self, number: int) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx.Client(base_url=self.site, headers=headers, timeout=60, trust_env=False) as client:
            count = 0
            while not self._ending.is_set():
                count += 1
                began = time.monotonic()
                answer = client.post("/predict", json={"text": f"Question {number}-{count}", "max_tokens": 3})
                with self._lock:
                    self.statuses[answer.status_code] += 1
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    if answer.status_code == 200:
                        self.answers[answer.json()["prediction"]] += 1
