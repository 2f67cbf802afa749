"""The database is restarted, the queue flushed, frozen and filled while jobs run: ``python -m tests.chaos.outages``. Prints
JSON.

Everything is private to this program: a PostgreSQL cluster, a Redis, three or more workers. No job may start again.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import redis

from tests.chaos.world import World, free_port, wait_until

JOBS = 5
SETTINGS = {"HEARTBEAT_SECONDS": "0.5", "LEASE_SECONDS": "4", "REAP_AFTER_SECONDS": "0.5", "BACKOFF_SECONDS": "1"}


class Cluster:
    """A PostgreSQL of our own, which may be stopped and started. The server refuses to run as root."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        self._bin = str(binaries[0]) if binaries else os.path.dirname(shutil.which("initdb") or "")
        folder.mkdir()
        folder.chmod(0o777)
        self._data = folder / "cluster"
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "--no-sync")
        self.start()

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        user = "postgres" if os.geteuid() == 0 and _has_user("postgres") else None
        subprocess.run(
            [f"{self._bin}/{program}", *arguments], user=user, check=True, cwd="/tmp", stdout=subprocess.DEVNULL
        )


def is_possible() -> bool:
    """Whether a PostgreSQL and a Redis of our own can be started here."""
    has_postgres = any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or shutil.which("initdb")
    return bool(has_postgres and shutil.which("redis-server")) and (os.geteuid() != 0 or _has_user("postgres"))


def _has_user(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


def main() -> int:
    away = float(sys.argv[1]) if len(sys.argv) > 1 else 6.0
    begun = time.monotonic()
    folder = Path("/tmp") / f"tunesmith-postgres-{os.getpid()}"
    cluster = Cluster(folder)
    try:
        report = carry_out(cluster, away)
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(report | {"seconds": round(time.monotonic() - begun, 1)}))
    return 1 if report["breaks"] else 0


def carry_out(cluster: Cluster, away: float) -> dict:
    with World(cluster.url, queue_program=["redis-server"], settings=SETTINGS) as world:
        from django.conf import settings
        from django.db import connection

        from tests.chaos.invariants import breaks
        from work_kit import queries
        from work_kit.choices import TERMINAL, State
        from work_kit.models import Job

        world.start_worker("cpu", "cpu", WORKER_HOST="chaos")
        world.start_beat()
        for number in range(JOBS):
            world.start_worker(f"gpu{number}", "gpu", WORKER_HOST="chaos", WORKER_DEVICE=f"cpu:{number}")
        wait_until(lambda: len(queries.workers()) > JOBS, "all workers are there", 120)
        jobs = [world.submit(steps=120, save_steps=10, step_seconds=0.1).pk for _ in range(JOBS)]
        running = Job.objects.filter(pk__in=jobs, state=State.RUNNING)
        wait_until(lambda: running.count() == JOBS, "five jobs run", 60)

        connection.close()
        cluster.stop()
        redis.Redis.from_url(world.redis_url).flushall()
        time.sleep(away)  # the outage itself
        cluster.start()
        redis.Redis.from_url(world.redis_url).flushall()

        jobs += [submit_while(world, frozen), submit_while(world, full)]
        wait_until(lambda: not Job.objects.filter(pk__in=jobs).exclude(state__in=TERMINAL).exists(), "all ended", 120)
        world.end_programs()
        rows = list(Job.objects.filter(pk__in=jobs))
        found = breaks(jobs, world.folder / "ledger", [Path(settings.WORK_DIR)])
        found += [f"job {job.pk} is {job.state}" for job in rows if job.state != State.SUCCEEDED]
        found += [f"job {job.pk} took {job.attempt} attempts" for job in rows if job.attempt != 1]
        rows.sort(key=lambda job: job.pk)
        return {"jobs": len(jobs), "away_seconds": away, "attempts": [job.attempt for job in rows], "breaks": found}


@contextmanager
def frozen(world: World) -> Iterator[None]:
    """The queue takes connections and answers nothing."""
    world.services[0].send_signal(signal.SIGSTOP)
    yield
    world.services[0].send_signal(signal.SIGCONT)


@contextmanager
def full(world: World) -> Iterator[None]:
    """The queue has no room for another message."""
    queue = redis.Redis.from_url(world.redis_url)
    queue.config_set("maxmemory-policy", "noeviction")
    queue.config_set("maxmemory", "1")
    yield
    queue.config_set("maxmemory", "0")


def submit_while(world: World, fault: Callable[[World], AbstractContextManager[None]]) -> str:
    """Accept a job although its bell cannot ring. Raises AssertionError when that takes longer than people wait."""
    begun = time.monotonic()
    with fault(world):
        job = world.submit(steps=3, save_steps=3, step_seconds=0.01)
        assert time.monotonic() - begun < 15, "submitting hangs with the queue"
    return str(job.pk)


if __name__ == "__main__":
    sys.exit(main())
