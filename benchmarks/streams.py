"""Readers of a running job's stream: a real web process of this site, real sockets, and a job that says something four
times a second. How late events arrive, what pages cost meanwhile, what a reader costs in memory, and whether anybody
misses an event when the web process is restarted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EVENTS_PER_SECOND = 4
ROUNDS = 3  # of pages without and with readers, in turns
PAGES_PER_ROUND = 60
RECONNECT_SECONDS = 2.0  # readers come back within so long, each at a moment of their own


def measure(*, full: bool = False) -> dict[str, dict[str, Any]]:
    """Goals: lag p95 at most 500 ms, other pages' p95 at most 1.3 times the same without readers, at most 0.1 MB for a
    reader, and no event missed by any reader across a restart."""
    readers = 1000 if full else 100
    site = Site.made()
    with site.web() as web, site.talk():
        without, with_readers, memory = [], [], 0.0
        site.page_times(20)  # templates are compiled, connections are there
        idle = _resident(web.process.pid)
        crowd = Crowd(site, readers)
        for _ in range(ROUNDS):
            without += site.page_times(PAGES_PER_ROUND)
            crowd.enter()
            memory = max(memory, (_resident(web.process.pid) - idle) / readers / 2**20)
            with_readers += site.page_times(PAGES_PER_ROUND)
            crowd.leave()
        crowd.enter()
        time.sleep(5)
        web.restart()
        crowd.wait_until_back()
        time.sleep(5)
        site.finish()
        report = crowd.report()
    expected = site.event_ids()
    missed = sum(ids != expected[expected.index(ids[0]) :] if ids else True for ids in report["ids"])
    lags = sorted(report["lags"])
    p95 = {"without readers": _p95(without), f"with {readers:,} readers": _p95(with_readers)}
    return {
        "streams, lag of an event, p95": _result(
            _p95(lags) * 1000, "ms", "<= 500", {"median": statistics.median(lags), "p95": _p95(lags), "max": lags[-1]}
        ),
        "streams, other pages' p95": _result(
            p95[f"with {readers:,} readers"] / p95["without readers"], "x without readers", "<= 1.3", p95
        ),
        "streams, memory of a reader": _result(memory, "MB", "<= 0.1", {}),
        "streams, readers who missed or repeated an event": _result(
            float(missed), f"of {len(report['ids'])}", "0", {"events of the job": float(len(expected))}
        ),
        "streams, back after a restart": _result(crowd.back_seconds, "s (no goal)", "-", {}),
    }


def _result(value: float, unit: str, goal: str, arms: dict[str, float]) -> dict[str, Any]:
    return {"value": value, "unit": unit, "goal": goal, "arms": arms}


def _p95(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def _resident(pid: int) -> int:
    import psutil

    return int(psutil.Process(pid).memory_info().rss)


@dataclass
class Web:
    """The web process, as ``manage.py start`` starts it."""

    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        arguments = ["finetune_site.asgi:application", "--host=127.0.0.1", f"--port={self.port}", "--lifespan=off"]
        arguments += ["--timeout-graceful-shutdown=3", "--log-level=error", "--backlog=4096"]
        self.process = subprocess.Popen([sys.executable, "-m", "uvicorn", *arguments], cwd=ROOT)
        _wait_for_port(self.port)

    def restart(self) -> None:
        """End it as the site does, and start it again."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def _wait_for_port(port: int, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("the web process did not start")


@dataclass
class Site:
    """A site with one person, one project and one running job."""

    port: int
    slug: str
    job_id: str
    cookie: str

    @classmethod
    def made(cls) -> Site:
        """In a folder of its own, on SQLite or on DATABASE_URL (an empty database)."""
        os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="tunesmith-bench-")
        os.environ["LOG_LEVEL"] = "ERROR"
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finetune_site.settings")
        import django

        django.setup()
        from django.core.management import call_command
        from django.test import Client

        call_command("migrate", verbosity=0)
        from accounts_app.models import User
        from accounts_app.operations import create_project
        from accounts_app.permissions import project_for
        from datasets_app.models import Dataset, Snapshot, Upload
        from jobs_app.operations import start_training
        from work_kit.models import Job

        user = User.objects.create_user(email="reader@example.com", password="correct horse battery", name="Reader")
        project = create_project(user=user, name="Streams")
        upload = Upload.objects.create(project=project, name="a.jsonl", size=1, sha256="0" * 64, storage_name="none")
        dataset = Dataset.objects.create(
            project=project, upload=upload, name="Rows", state="ready", total=50, accepted=50, import_attempt=1
        )
        snapshot = Snapshot.objects.create(
            project=project, dataset=dataset, number=1, state="ready", sha256="1" * 64, counts={"train": 40}
        )
        training = start_training(
            actor=project_for(user, project.slug, "view"),
            name="Watched",
            base_model_key="demo-base",
            snapshot=snapshot,
            spec={},
        )
        Job.objects.filter(pk=training.pk).update(state="running", phase="training", progress_total=10_000, attempt=1)
        browser = Client()
        browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        return cls(port, project.slug, str(training.pk), browser.cookies["sessionid"].value)

    @property
    def page(self) -> str:
        """The page of the training."""
        return f"/p/{self.slug}/train/{self.job_id}"

    @contextmanager
    def web(self) -> Iterator[Web]:
        """The web process, for the time of the measurement."""
        web = Web(self.port)
        try:
            yield web
        finally:
            web.stop()

    @contextmanager
    def talk(self) -> Iterator[None]:
        """The job says something four times a second, as its worker would, with the moment in it."""
        self._silent = threading.Event()
        speaker = threading.Thread(target=self._speak, daemon=True)
        speaker.start()
        try:
            yield
        finally:
            self.finish()
            speaker.join()

    def _speak(self) -> None:
        from django.db import connection
        from django.utils import timezone

        from work_kit.models import Job, JobEvent

        step = 0
        while not self._silent.wait(1 / EVENTS_PER_SECOND):
            step += 1
            data = {"step": step, "train_loss": 1.0 / step, "tokens_per_second": 900.0, "learning_rate": 1e-4}
            Job.objects.filter(pk=self.job_id).update(progress_done=step)
            JobEvent.objects.create(
                job_id=self.job_id, attempt=1, kind="metric", at=timezone.now(), data=data | {"said_at": time.time()}
            )
        Job.objects.filter(pk=self.job_id).update(state="succeeded", phase="done")
        connection.close()

    def finish(self) -> None:
        """The job ends."""
        self._silent.set()

    def event_ids(self) -> list[int]:
        """All ids of the job's events."""
        from work_kit.models import JobEvent

        return list(JobEvent.objects.filter(job_id=self.job_id).order_by("id").values_list("id", flat=True))

    def page_times(self, times: int) -> list[float]:
        """Seconds of requests for other pages: the list of trainings and the data."""
        import httpx

        taken = []
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", cookies={"sessionid": self.cookie}) as client:
            for number in range(times):
                begun = time.perf_counter()
                response = client.get(f"/p/{self.slug}/{('train', 'data')[number % 2]}/", timeout=60)
                assert response.status_code == 200, response.status_code
                taken.append(time.perf_counter() - begun)
                time.sleep(0.05)
        return taken


class Crowd:
    """The readers, in a process of their own, told what to do line by line."""

    def __init__(self, site: Site, readers: int) -> None:
        arguments = [str(site.port), f"{site.page}/events", site.cookie, str(readers)]
        self.back_seconds = 0.0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.streams", *arguments],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def enter(self) -> None:
        """All readers connect."""
        self._say("enter")

    def leave(self) -> None:
        """All readers leave."""
        self._say("leave")

    def wait_until_back(self) -> None:
        """Until every reader has its stream again."""
        begun = time.monotonic()
        self._say("back")
        self.back_seconds = time.monotonic() - begun

    def report(self) -> dict[str, Any]:
        """What every reader of the last entry received, once all have read to the end."""
        answer: dict[str, Any] = json.loads(self._say("report"))
        self.process.wait(30)
        return answer

    def _say(self, word: str) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


@dataclass
class Reader:
    """One reader: what an EventSource does, and a note of every id."""

    port: int
    path: str
    cookie: str
    ids: list[int] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    is_open: bool = False
    has_ended: bool = False

    async def read(self) -> None:
        """Until the job's end, across broken connections."""
        import random

        while not self.has_ended:
            try:
                await self._read_once()
            except (OSError, asyncio.IncompleteReadError):
                pass
            self.is_open = False
            if not self.has_ended:
                await asyncio.sleep(random.uniform(0.5, RECONNECT_SECONDS))

    async def _read_once(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        try:
            lines = [f"GET {self.path}?after={self.ids[-1] if self.ids else 0} HTTP/1.1", f"Host: localhost:{self.port}"]
            lines += [f"Cookie: sessionid={self.cookie}", "Accept: text/event-stream", "", ""]
            writer.write("\r\n".join(lines).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                return
            fresh_from = time.time()
            while line := await reader.readline():
                self.is_open = True
                if line.startswith(b"id: "):
                    self.ids.append(int(line[4:]))
                elif line.startswith(b"event: end"):
                    self.has_ended = True
                    return
                elif b'"said_at":' in line:
                    said_at = float(line.rpartition(b'"said_at":')[2].partition(b"}")[0])
                    if said_at > fresh_from:  # what was said before they came is history, not late
                        self.lags.append(time.time() - said_at)
        finally:
            writer.close()


async def _crowd(port: int, path: str, cookie: str, count: int) -> None:
    orders: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    threading.Thread(
        target=lambda: [loop.call_soon_threadsafe(orders.put_nowait, line.strip()) for line in sys.stdin], daemon=True
    ).start()
    lags: list[float] = []
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
        if order == "report":
            await asyncio.wait_for(asyncio.gather(*tasks), 60)
        if order in {"leave", "report"}:
            for task in tasks:
                task.cancel()
            lags += [lag for reader in readers for lag in reader.lags]
            await asyncio.sleep(1.0 if order == "leave" else 0)
        if order == "report":
            print(json.dumps({"ids": [reader.ids for reader in readers], "lags": lags}), flush=True)
            return
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(_crowd(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
