"""Many jobs, many deaths: ``python -m tests.chaos.campaign --jobs 50 --kills 200 --seed 1 [--postgres URL]``.

Real Celery workers, beat and queue; processes are killed, frozen and woken at random while people cancel, pause and resume.
Ends with the invariant checker and prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.chaos.world import World, wait_until

SETTINGS = {"HEARTBEAT_SECONDS": "0.5", "LEASE_SECONDS": "3", "REAP_AFTER_SECONDS": "0.5", "BACKOFF_SECONDS": "1"}
VICTIMS = {"trainer": 55, "worker": 22, "both": 10, "cpu": 6, "beat": 7}
SHARE_OF_FREEZES = 0.25  # of all faults; a frozen process is woken after up to two leases
SHARE_OF_WISHES = 0.3  # jobs that somebody cancels, pauses or stops
SHARE_OF_IDLE_FAULTS = 0.1  # moments at which nothing is trained and something dies all the same
WORKERS = 3


@dataclass
class Campaign:
    """``programs`` are kept alive, as ``manage.py start`` does; ``frozen`` says when whom to wake."""

    world: World
    random: random.Random
    programs: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    frozen: dict[int, float] = field(default_factory=dict)
    struck: Counter[str] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)
    wishes: dict[str, tuple[float, str]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        if name == "beat":
            self.programs[name] = self.world.start_beat()
        elif name == "cpu":
            self.programs[name] = self.world.start_worker(name, "cpu", WORKER_HOST="chaos")
        else:
            self.programs[name] = self.world.start_worker(name, "gpu", WORKER_HOST="chaos", WORKER_DEVICE=f"cpu:{name}")

    def revive(self) -> None:
        for name, program in self.programs.items():
            if program.poll() is not None:
                self.world.processes.remove(program)
                self.start(name)
        for pid, at in list(self.frozen.items()):
            if time.monotonic() >= at:
                self._send(pid, signal.SIGCONT)
                del self.frozen[pid]

    def submit(self) -> None:
        from work_kit.outages import until_answered

        steps = self.random.randint(20, 60)
        save = self.random.choice([2, 3, 5])
        # A frozen process may hold SQLite's one write lock.
        job = until_answered(lambda: self.world.submit(steps=steps, save_steps=save, step_seconds=0.05))
        self.accepted.append(job.pk)
        if self.random.random() < SHARE_OF_WISHES:
            wish = self.random.choice(["cancel", "cancel", "pause", "stop_and_keep"])
            self.wishes[job.pk] = time.monotonic() + self.random.uniform(0, 20), wish

    def wish(self) -> None:
        """What people do meanwhile: stop jobs at any moment, and resume those that are paused."""
        from django.db import OperationalError

        from finetune_engine.errors import UserError
        from work_kit.choices import State
        from work_kit.models import Job
        from work_kit.operations import request_stop, resume_job

        for job_id, (at, action) in list(self.wishes.items()):
            if time.monotonic() >= at:
                try:
                    request_stop(actor=self.world.actor, job=Job.objects.get(pk=job_id), action=action)
                    del self.wishes[job_id]
                except UserError:
                    del self.wishes[job_id]  # it has ended already
                except OperationalError:
                    continue  # they press the button again
        for job in Job.objects.filter(state=State.PAUSED):
            if self.random.random() < 0.05:
                with suppress(OperationalError, UserError):
                    resume_job(actor=self.world.actor, job=job)

    def strike(self) -> None:
        """One fault."""
        victim = self.random.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        freezes = self.random.random() < SHARE_OF_FREEZES
        pids = self._pids(victim)
        for pid in pids:
            if freezes:
                self._send(pid, signal.SIGSTOP)
                self.frozen[pid] = time.monotonic() + self.random.uniform(0.1, 6.0)
            else:
                self._send(pid, signal.SIGKILL)
        if pids:
            self.struck[f"{'freeze' if freezes else 'kill'} {victim}"] += 1

    @property
    def kills(self) -> int:
        return sum(n for name, n in self.struck.items() if name.startswith("kill"))

    def _pids(self, victim: str) -> list[int]:
        if victim in {"cpu", "beat"}:
            return [self.programs[victim].pid]
        trainers = self.world.trainers()
        if not trainers:
            return [self.programs[f"gpu{self.random.randrange(WORKERS)}"].pid]
        trainer = self.random.choice(trainers)
        try:
            return {"trainer": [trainer.pid], "worker": [trainer.ppid()], "both": [trainer.pid, trainer.ppid()]}[victim]
        except psutil.Error:
            return []

    def _send(self, pid: int, number: int) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    def run(self, jobs: int, kills: int) -> None:
        """Submit all the time, strike more than once a second, and in the end let everything come to rest."""
        from work_kit.choices import TERMINAL
        from work_kit.models import Job

        for name in (*(f"gpu{n}" for n in range(WORKERS)), "cpu", "beat"):
            self.start(name)
        wait_until(lambda: self._workers() > WORKERS, "all workers are there", 90)
        while self.kills < kills or len(self.accepted) < jobs:
            open_jobs = Job.objects.exclude(state__in=TERMINAL).count()
            # Jobs are spread over the campaign: there is always somebody to hit.
            due = self.kills >= len(self.accepted) * kills / jobs or open_jobs < WORKERS
            if due and len(self.accepted) < jobs:
                self.submit()
            self.revive()
            self.wish()
            if self.kills < kills and (self.world.trainers() or self.random.random() < SHARE_OF_IDLE_FAULTS):
                self.strike()
            if len(self.accepted) >= jobs and not open_jobs and self.kills < kills:
                jobs += 1  # they were quicker than death: more of them
            time.sleep(self.random.uniform(0.1, 1.1))
        self._come_to_rest()

    def _workers(self) -> int:
        from work_kit.queries import workers

        return len(workers())

    def _come_to_rest(self, seconds: float = 300.0) -> None:
        from work_kit.choices import TERMINAL
        from work_kit.models import Job

        def rests() -> bool:
            self.revive()
            self.wish()
            return not self.wishes and not Job.objects.exclude(state__in=TERMINAL).exists()

        wait_until(rests, "every accepted job has ended", seconds, every=0.2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", default="", help="the address of a PostgreSQL; without it SQLite is used")
    asked = parser.parse_args()
    begun = time.monotonic()
    redis = shutil.which("redis-server") if asked.postgres else None
    with World(asked.postgres, queue_program=[redis] if redis else [], settings=SETTINGS) as world:
        campaign = Campaign(world, random.Random(asked.seed))
        campaign.run(asked.jobs, asked.kills)
        found = check(campaign)
        from work_kit.models import Job

        jobs = Job.objects.filter(pk__in=campaign.accepted)
        report = {
            "database": "postgres" if asked.postgres else "sqlite",
            "jobs": len(campaign.accepted),
            "kills": campaign.kills,
            "struck": dict(campaign.struck),
            "ends": dict(Counter(f"{job.state} {job.failure_reason}".strip() for job in jobs)),
            "attempts": sum(job.attempt for job in jobs),
            "breaks": found,
            "seconds": round(time.monotonic() - begun, 1),
        }
        print(json.dumps(report))
        if found:
            raise SystemExit(1)
    return 0


def check(campaign: Campaign) -> list[str]:
    """Let a fresh worker tidy up, end all programs, and look at what is left."""
    from django.conf import settings

    from tests.chaos.invariants import breaks, orphans

    folders = [Path(settings.WORK_DIR)]
    campaign.world.start_worker("last", "gpu", WORKER_HOST="chaos", WORKER_DEVICE="cpu:last")
    try:
        wait_until(lambda: not orphans(campaign.accepted, folders), "nothing is left behind", 60, every=0.5)
    except AssertionError:
        pass  # the checker says what
    campaign.world.end_programs()
    living = [f"trainer {process.pid} outlives its worker" for process in campaign.world.trainers()]
    return breaks(campaign.accepted, campaign.world.folder / "ledger", folders) + living


if __name__ == "__main__":
    sys.exit(main())
