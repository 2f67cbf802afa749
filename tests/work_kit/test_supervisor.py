"""A job's child is a real process; however it ends, the job ends in one way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from work_kit import operations
from work_kit.choices import State
from work_kit.models import Job

SLOW_ENGINE = """
import sys, time, json
print(json.dumps({"kind": "progress", "at": time.time(), "data": {"done": 1, "total": 9}}), flush=True)
time.sleep(60)
"""


@pytest.fixture
def job(actor, toy, transactional_db) -> Job:
    return operations.submit_job(actor=actor, kind="toy.run", title="Toy", params={})


@pytest.fixture
def slow_child(monkeypatch):
    """The child says one thing and then sleeps for a minute."""
    from work_kit import process

    monkeypatch.setattr(process, "command", lambda *args: [sys.executable, "-c", SLOW_ENGINE, *args])


def run_in_thread():
    from django.db import connection

    from work_kit import supervisor

    def run() -> None:
        supervisor.run_waiting("cpu")
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def wait_for(job: Job, *states: str, seconds: float = 30.0) -> Job:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job.refresh_from_db()
        if job.state in states:
            return job
        time.sleep(0.1)
    raise AssertionError(f"still {job.state}, wanted {states}")


def children() -> list[psutil.Process]:
    """The slow children that this test started (other tests of this process may have children of their own)."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if SLOW_ENGINE in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.Error:  # it ended while we looked
            continue
    return found


def test_a_job_runs_to_its_end_through_the_engine(job, toy, run_jobs) -> None:
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.result) == (State.SUCCEEDED, {"report": True})
    assert toy.calls[0] == "prepare"
    assert toy.calls[-2:] == ["save", "commit"]


def test_a_file_that_cannot_be_used_fails_with_the_engines_sentence(job, toy, run_jobs, tmp_path) -> None:
    toy.file = tmp_path / "empty.jsonl"
    toy.file.write_bytes(b"")
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.failure_reason, job.failure["code"]) == (State.FAILED, "bad_data", "empty_file")
    assert toy.calls[-1] == "ended:failed"


def test_a_row_that_the_database_refuses_is_told_with_the_job_and_not_taken_for_a_lost_worker(
    job, toy, monkeypatch
) -> None:
    from django.db import IntegrityError

    from work_kit import supervisor

    def refused(job, saved):
        raise IntegrityError("duplicate key")

    monkeypatch.setattr(toy, "commit", refused)
    supervisor.run_waiting("cpu")
    job.refresh_from_db()
    assert job.state == State.QUEUED
    assert "IntegrityError" in job.events.get(kind="log", data__reason="internal").data["cause"]


def test_cancel_stops_the_child_within_fifteen_seconds_and_leaves_no_process(job, slow_child, actor) -> None:
    thread = run_in_thread()
    wait_for(job, State.RUNNING)
    begun = time.monotonic()
    operations.request_stop(actor=actor, job=job, action="cancel")
    wait_for(job, State.CANCELLED, seconds=15)
    thread.join(10)
    assert time.monotonic() - begun < 15
    assert children() == []


def test_a_killed_child_is_tried_again(job, slow_child, toy, monkeypatch) -> None:
    thread = run_in_thread()
    wait_for(job, State.RUNNING)
    for child in children():
        child.send_signal(signal.SIGKILL)
    wait_for(job, State.QUEUED)
    thread.join(10)
    assert job.fruitless_attempts == 1
    assert job.events.filter(kind="log", data__reason="worker_lost").exists()


def test_a_child_dies_with_its_supervisor(tmp_path) -> None:
    """The kernel sees to it, even when the supervisor is killed without a chance to clean up."""
    mark = tmp_path / "pid"
    script = tmp_path / "supervise.py"
    sleeper = tmp_path / "sleep.py"
    sleeper.write_text(f"import os, time\nopen({str(mark)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    script.write_text(
        "import subprocess, sys, time\n"
        "from work_kit.child import command\n"
        f"subprocess.Popen(command(sys.executable, {str(sleeper)!r}), start_new_session=True)\n"
        "time.sleep(60)\n"
    )
    supervisor = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": os.getcwd()})
    deadline = time.monotonic() + 20
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    pid = int(mark.read_text())
    supervisor.kill()
    supervisor.wait()
    deadline = time.monotonic() + 5
    while (
        psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert os.getpid() != pid


def test_a_fenced_supervisor_kills_its_child_and_writes_nothing(job, slow_child, toy) -> None:
    thread = run_in_thread()
    wait_for(job, State.RUNNING)
    Job.objects.filter(pk=job.pk).update(lease_token="somebody else")
    thread.join(15)
    assert not thread.is_alive()
    assert children() == []
    job.refresh_from_db()
    assert (job.state, job.lease_token) == (State.RUNNING, "somebody else")


def test_a_child_never_sees_the_sites_secrets(monkeypatch) -> None:
    from work_kit.process import child_environment

    monkeypatch.setenv("SECRET_KEY", "s3cret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("DATABASE_URL", "postgres://u:s3cret@h/d")
    monkeypatch.setenv("EMAIL_URL", "smtp://u:s3cret@h")
    assert "s3cret" not in str(child_environment({}))
