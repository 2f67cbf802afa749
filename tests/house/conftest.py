"""A whole site, as ``make serve`` starts it: web, workers, beat, inference process and queue, in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Site:
    """A running site. ``owner_link`` makes the first account; ``manage`` runs a management command beside it."""

    address: str
    data_dir: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes]
    log_path: Path
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def owner_link(self) -> str:
        found = re.search(r"works once\): (\S+)", self.log)
        assert found, self.log
        return found.group(1)

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def project_key(self, name: str) -> tuple[str, str]:
        """A fresh project and an admin key of it: ``(slug, key)``."""
        slug = self.manage("create_project", name, "--owner", "owner@example.com")
        return slug, self.manage("create_api_key", "--project", slug, "--scopes", "admin")

    def client(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def programs(self) -> dict[str, psutil.Process]:
        """The site's processes: web, cpu, gpu, beat, model, and trainer while there is one."""
        found: dict[str, psutil.Process] = {}
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            marks = {"web": "uvicorn", "cpu": "-Q cpu", "gpu": "-Q gpu", "beat": " beat ", "model": "django inference"}
            marks |= {"trainer": "finetune_engine train"}
            found |= {name: process for name, mark in marks.items() if mark in line}
        return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _own_database(url: str, name: str) -> Iterator[str]:
    """A database of the site's own beside the tests' one; the URL unchanged for the embedded default."""
    if not url.startswith("postgres"):
        yield ""
        return
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}"')
    yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One site for the tests of a file, on the embedded default or on DATABASE_URL and REDIS_URL."""
    data_dir = Path(tempfile.mkdtemp(prefix="tunesmith-site-"))
    port = free_port()
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    databases = _own_database(os.environ.get("DATABASE_URL", ""), f"tunesmith_site_{worker}_{os.getpid()}")
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment |= {
        "DATA_DIR": str(data_dir),
        "HEARTBEAT_SECONDS": "1",
        "LEASE_SECONDS": "6",
        "REAP_AFTER_SECONDS": "1",
        "BACKOFF_SECONDS": "1",
        "LOG_LEVEL": "WARNING",
        "HF_HUB_OFFLINE": "1",
        "DATABASE_URL": next(databases),
        "PYTHONPATH": str(ROOT),
    }
    if redis_url := os.environ.get("REDIS_URL"):  # a numbered database of its own, so that sites do not share a queue
        number = 8 + int(worker.removeprefix("gw") or 0)
        environment["REDIS_URL"] = urlunsplit(urlsplit(redis_url)._replace(path=f"/{number}"))
    log_path = data_dir / "site.log"
    with open(log_path, "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "start", "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    running = Site(f"http://localhost:{port}", data_dir, environment, process, log_path)
    try:
        wait_until_ready(running)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            process.kill()
        next(databases, None)
        shutil.rmtree(data_dir, ignore_errors=True)


def wait_until_ready(running: Site, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            body = httpx.get(f"{running.address}/health/ready", timeout=5).json()
            if body.get("status") == "ready" and body.get("model_server") == "ok":
                return
        except (httpx.HTTPError, ValueError):
            pass
        assert running.process.poll() is None, running.log
        time.sleep(0.3)
    raise AssertionError(f"the site did not become ready:\n{running.log[-3000:]}")


def wait_for_state(client: httpx.Client, url: str, *states: str, seconds: float = 300.0) -> dict:
    """Poll a native object until its status is one of these."""
    deadline = time.monotonic() + seconds
    body: dict = {}
    while time.monotonic() < deadline:
        try:
            body = client.get(url).json()
        except httpx.HTTPError:  # the web process may be the one that a test killed
            time.sleep(0.5)
            continue
        if body.get("status") in states:
            return body
        assert body.get("status") not in {"failed", "cancelled"} or "failed" in states, body
        time.sleep(0.3)
    raise AssertionError(f"{url} is {body.get('status')} after {seconds} s: {body}")
