"""Every failpoint, before and after, with every victim: ``python -m tests.chaos.table``. Prints JSON.

Each case is one job on a queue of its own. Its worker is a fork of this process that hits the fault once; when it dies or
freezes, its lease is made to expire at once (the clock is not what is tested here), and another worker goes on.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from django.db import connection, connections

from tests.chaos.world import World, kill
from work_kit.outages import OUTAGES

AT_ONCE = 5
SECONDS_PER_CASE = 40.0
SETTINGS = {"HEARTBEAT_SECONDS": "0.3", "LEASE_SECONDS": "20", "REAP_AFTER_SECONDS": "0", "BACKOFF_SECONDS": "0.02"}
SHORT_WAIT, LONG_WAIT = {"timeout": 1}, {"timeout": 20}  # for SQLite's write lock: ours, and a worker's
TRAINER_WRITES = ("event#3", "checkpoint", "checkpoint_rename", "artefact", "artefact_rename")
WORKER_WRITES = (
    "claim",
    "lease",
    "events",
    "checkpoint_row",
    "store",
    "begin_saving",
    "succeed",
    "end_attempt",
    "release",
)
WITH_A_LIVE_TRAINER = ("lease", "events", "checkpoint_row")
STRANDING = ("claim", "end_attempt", "release")  # a worker that lives on, but has lost sight of its job
NEEDS = {"end_attempt": {"fault": "error_once"}, "release": {"wait_once": True}}


@dataclass
class Case:
    """One fault. ``victim`` is seen from the process that makes the write: itself (""), its child, its parent."""

    write: str
    moment: str
    how: str
    victim: str
    job_id: str = ""
    mark: Path = Path()
    workers: list[int] = field(default_factory=list)
    frozen: list[int] = field(default_factory=list)
    begun: float = 0.0
    is_silent: bool = False  # a worker died or froze, and its lease is to expire
    was_stranded: bool = False

    @property
    def name(self) -> str:
        return f"{self.write}:{self.moment}:{self.how}" + (f":{self.victim}" if self.victim else "")

    @property
    def queue(self) -> str:
        return f"q{self.job_id[-7:]}"


def cases(hows: list[str]) -> list[Case]:
    found = []
    for how in hows:
        for moment in ("before", "after"):
            found += [Case(write, moment, how, "") for write in (*TRAINER_WRITES, *WORKER_WRITES)]
            if how != "raise":
                found += [Case(write, moment, how, "parent") for write in TRAINER_WRITES]
                found += [Case(write, moment, how, "child") for write in WITH_A_LIVE_TRAINER]
    return found


def main() -> int:
    hows = sys.argv[1:] or ["kill", "stop", "raise"]
    begun = time.monotonic()
    with World(os.environ.get("DATABASE_URL", ""), redis_url="memory://", settings=SETTINGS) as world:
        table = cases(hows)
        play(world, table)
        from django.conf import settings

        from tests.chaos.invariants import breaks
        from work_kit import leftovers

        leftovers.sweep_work_folders()  # as every worker does once a minute
        found = breaks([case.job_id for case in table], world.folder / "ledger", [Path(settings.WORK_DIR)])
        found += [f"{case.name}: {text}" for case in table for text in told(case)]
        found += [f"trainer {process.pid} outlives its job" for process in world.trainers()]
    seconds = round(time.monotonic() - begun, 1)
    print(json.dumps({"cases": len(table), "breaks": found, "seconds": seconds}))
    return 1 if found else 0


def play(world: World, table: list[Case]) -> None:
    """Carry out all cases, a few at a time.

    A worker may freeze with SQLite's one write lock in its hands; then nobody can go on before it, we neither. So we do not
    wait long for the lock, and wake whoever is frozen: a case loses some of its sleep by that, and nothing else.
    """
    if connection.vendor == "sqlite":
        connection.settings_dict["OPTIONS"] |= SHORT_WAIT
    waiting: deque[Case] = deque(table)
    open_cases: list[Case] = []
    while waiting or open_cases:
        try:
            while waiting and len(open_cases) < AT_ONCE:
                begin(world, waiting[0])
                open_cases.append(waiting.popleft())
            for case in list(open_cases):
                if look(case):
                    open_cases.remove(case)
        except OUTAGES:
            for case in open_cases:
                wake(case)
        time.sleep(0.02)


def begin(world: World, case: Case) -> None:
    """Submit the job and start its worker."""
    from work_kit.models import Job

    case.job_id = case.job_id or world.submit(queue="gpu", **NEEDS.get(case.write, {})).pk
    case.begun, case.mark = time.monotonic(), world.folder / f"mark-{case.job_id}"
    Job.objects.filter(pk=case.job_id).update(queue=case.queue)
    case.workers.append(fork_worker(case))


def fork_worker(case: Case) -> int:
    connections.close_all()
    pid = os.fork()
    if pid:
        return pid
    if connection.vendor == "sqlite":
        connection.settings_dict["OPTIONS"] |= LONG_WAIT
    os.environ["TUNESMITH_FAILPOINT"] = f"{case.write}:{case.moment}:{case.how}"
    os.environ["TUNESMITH_FAILPOINT_MARK"] = str(case.mark)
    os.environ["TUNESMITH_FAILPOINT_VICTIM"] = case.victim
    try:
        work(case)
    finally:
        os._exit(0)


def work(case: Case) -> None:
    """A worker that hears its bell all the time."""
    from work_kit import supervisor
    from work_kit.choices import TERMINAL
    from work_kit.models import Job

    supervisor.TICK_SECONDS = 0.02
    while Job.objects.get(pk=case.job_id).state not in TERMINAL:
        try:
            supervisor.run_waiting(case.queue)
        except RuntimeError as error:  # as Celery does with a task that fails
            print(case.name, error, file=sys.stderr)
        time.sleep(0.02)


def look(case: Case) -> bool:
    """See to what died or froze; whether the case is over. Raises one of ``OUTAGES`` while somebody holds the write lock."""
    from work_kit.choices import TERMINAL
    from work_kit.models import Job

    for pid in list(case.workers):
        ended, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if ended:
            case.workers.remove(pid)
            case.is_silent = True
            if os.WIFSTOPPED(status):
                case.frozen.append(pid)
    if case.how == "raise" and case.write in STRANDING and case.mark.exists() and not case.was_stranded:
        case.was_stranded = case.is_silent = True
    if case.is_silent:
        expire(case)
        case.is_silent = False
    wake_trainers(case)
    if time.monotonic() - case.begun > SECONDS_PER_CASE:
        for pid in [*case.workers, *case.frozen]:
            kill(pid)
            os.waitpid(pid, 0)
        return True
    if Job.objects.get(pk=case.job_id).state not in TERMINAL:
        if not case.workers:
            case.workers.append(fork_worker(case))
        return False
    wake(case)  # and it finds that everything is over
    return not case.workers


def wake(case: Case) -> None:
    """Its frozen workers go on, those too that nobody has seen freeze yet."""
    for pid in [*case.workers, *case.frozen]:
        os.kill(pid, signal.SIGCONT)
    case.workers += case.frozen
    case.frozen = []


def wake_trainers(case: Case) -> None:
    """A frozen trainer whose supervisor lives is woken again."""
    if case.how != "stop" or not case.mark.exists():
        return
    for pid in case.workers:
        for child in psutil.Process(pid).children(recursive=True):
            try:
                if child.status() == psutil.STATUS_STOPPED:
                    child.send_signal(signal.SIGCONT)
            except psutil.Error:
                continue


def expire(case: Case) -> None:
    """The worker is gone or frozen: its lease ends now, and the reaper comes by. Its pause is over at once."""
    from datetime import timedelta

    from work_kit import leftovers, operations, queries
    from work_kit.choices import LEASED, State
    from work_kit.models import Job

    past = queries.database_now() - timedelta(seconds=1)
    Job.objects.filter(pk=case.job_id, state__in=LEASED).update(lease_expires_at=past)
    for job_id in operations.reap_expired_leases():
        leftovers.tidy(Job.objects.get(pk=job_id))
    Job.objects.filter(pk=case.job_id, state=State.QUEUED).update(available_at=past)


def told(case: Case) -> list[str]:
    """What is wrong with a case beside the invariants: the fault did not strike, or the job did not get over it."""
    from work_kit.models import Job

    job = Job.objects.get(pk=case.job_id)
    found = [] if case.mark.exists() else ["the fault did not strike"]
    return found + ([] if job.state == "succeeded" else [f"the job is {job.state} {job.failure_reason} {job.failure}"])


if __name__ == "__main__":
    sys.exit(main())
