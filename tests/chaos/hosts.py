"""Two machines: ``python -m tests.chaos.hosts [--real-times] [--postgres URL]``. Prints JSON.

Each has its own data folder and name; they share a PostgreSQL (or, without one, SQLite), a queue and an S3 server. Jobs spread
over both; one machine is killed in the middle of its job, and the other one goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from tests.chaos.world import World, free_port, kill, wait_for_port, wait_until

QUICK = {"HEARTBEAT_SECONDS": "0.5", "LEASE_SECONDS": "3", "REAP_AFTER_SECONDS": "0.5", "BACKOFF_SECONDS": "1"}
HOSTS = ("north", "south")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real-times", action="store_true", help="the default heartbeat and lease (5 and 30 s)")
    parser.add_argument("--postgres", default="")
    asked = parser.parse_args()
    port = free_port()
    settings = {
        "STORAGE_URL": f"s3://chaos/files?endpoint=http://127.0.0.1:{port}&region=us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        **({} if asked.real_times else QUICK),
    }
    with World(asked.postgres, settings=settings) as world:
        world.services.append(world.start("s3", "moto.server", "-H", "127.0.0.1", "-p", str(port)))
        world.processes.clear()
        wait_for_port(port, 60)
        _make_bucket(port)
        report = carry_out(world)
    print(json.dumps(report))
    return 1 if report["breaks"] else 0


def carry_out(world: World) -> dict:
    from tests.chaos.invariants import breaks
    from work_kit import operations, queries
    from work_kit.choices import TERMINAL, State
    from work_kit.models import Job, JobEvent

    if not world.database_url:  # both machines need the one file
        world.database_url = f"sqlite:///{world.folder / 'data' / 'tunesmith.sqlite3'}"
    world.start_beat()
    started = {name: _start(world, name) for name in HOSTS}
    wait_until(lambda: len(queries.workers()) == 2 * len(HOSTS), "both machines are there", 90)
    jobs = [world.submit(steps=2000, save_steps=5, step_seconds=0.2).pk for _ in HOSTS]
    rows = Job.objects.filter(pk__in=jobs)

    def saved(job: Job) -> bool:
        return job.training.checkpoints.filter(is_committed=True).count() >= 2

    wait_until(lambda: all(job.state == State.RUNNING and saved(job) for job in rows.all()), "both jobs run", 90)
    spread = sorted(job.host for job in rows.all())
    _worker(world, "south", "gpu-south-2", device="cpu:2")  # south is busy with its own job; this one waits
    wait_until(lambda: len(queries.workers()) == 2 * len(HOSTS) + 1, "a free worker is there", 90)
    victim = rows.get(host="north")
    step = _last_step(victim.pk)
    for process in started["north"]:
        kill(process.pid)
    killed_at = time.monotonic()
    taken = rows.filter(pk=victim.pk, host="south", attempt__gt=1)
    wait_until(taken.exists, "the other machine took the job", 180, every=0.02)
    claimed = time.monotonic() - killed_at
    again = JobEvent.objects.filter(job_id=victim.pk, kind="metric", attempt__gt=1)
    wait_until(again.exists, "it steps again", 180, every=0.02)
    stepped = time.monotonic() - killed_at
    first = again.order_by("id").first().data["step"]
    for job in rows.all():
        operations.request_stop(actor=world.actor, job=job, action="stop_and_keep")
    wait_until(lambda: not rows.exclude(state__in=TERMINAL).exists(), "all ended", 300)
    wait_until(lambda: not list((world.folder / "south" / "work").glob("*")), "the work folders are empty", 30)
    world.end_programs()
    found = breaks(jobs, world.folder / "ledger", [world.folder / "south" / "work"])
    found += [f"job {job.pk} is {job.state}" for job in rows if job.state != State.SUCCEEDED]
    if spread != sorted(HOSTS):
        found.append(f"the jobs ran on {spread}")
    if not 1 < first <= step + 6:
        found.append(f"it went on at step {first}, having reached {step}")
    return {
        "database": "postgres" if world.database_url.startswith("postgres") else "sqlite",
        "lease_seconds": float(os.environ.get("LEASE_SECONDS") or 30),
        "spread": spread,
        "reached_step": step,
        "went_on_at_step": first,
        "claimed_after_seconds": round(claimed, 1),
        "stepped_after_seconds": round(stepped, 1),
        "breaks": found,
    }


def _start(world: World, host: str) -> list:
    cpu = world.start_worker(f"cpu-{host}", "cpu", WORKER_HOST=host, DATA_DIR=str(world.folder / host))
    return [cpu, _worker(world, host, f"gpu-{host}", device="cpu")]


def _worker(world: World, host: str, name: str, *, device: str):
    return world.start_worker(name, "gpu", WORKER_HOST=host, WORKER_DEVICE=device, DATA_DIR=str(world.folder / host))


def _last_step(job_id: str) -> int:
    from work_kit.queries import metric_points

    return max(point["step"] for point in metric_points(job_id))


def _make_bucket(port: int) -> None:
    import boto3

    boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1").create_bucket(Bucket="chaos")


if __name__ == "__main__":
    sys.exit(main())
