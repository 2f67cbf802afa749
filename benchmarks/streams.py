"""Readers of a running job's stream: a real web process of this site, real sockets, and a job that says something four
times a second. How late events arrive, what pages cost meanwhile, what a reader costs in memory, and whether anybody
misses an event when the web process is restarted."""

from __future__ import annotations

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
        crowd.expect_storm()
        web.restart()
        crowd.wait_until_back()
        time.sleep(5)
        site.finish()
        report = crowd.report()
    expected = site.event_ids()
    missed = sum(ids != expected[expected.index(ids[0]) :] if ids else True for ids in report["ids"])
    lags, storm = sorted(report["lags"]), sorted(report["storm"])
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
        "streams, all back after a restart": _result(
            crowd.back_seconds, "s (no goal)", "-", {"lag meanwhile, p95": _p95(storm), "max": storm[-1]}
        ),
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

        user = User.objects.create_user(email="reader@example.com", name="Reader")
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
            [sys.executable, "-m", "benchmarks.stream_readers", *arguments],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def enter(self) -> None:
        """All readers connect."""
        self._say("enter")

    def expect_storm(self) -> None:
        """What arrives from now on is noted apart, until all are back."""
        self._say("storm")

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
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()
