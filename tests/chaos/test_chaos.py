"""The programs of this folder, in small: the whole of them runs with ``make chaos``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.outages import is_possible

ROOT = Path(__file__).resolve().parents[2]
POSTGRES = os.environ.get("DATABASE_URL", "") if os.environ.get("DATABASE_URL", "").startswith("postgres") else ""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
once_on_postgres = pytest.mark.skipif(not POSTGRES, reason="runs in the round with PostgreSQL and Redis")
once_embedded = pytest.mark.skipif(bool(POSTGRES), reason="runs in the round with the embedded default")


def run(program: str, *arguments: str) -> dict:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "DATA_DIR"))}
    environment |= {"DATABASE_URL": POSTGRES, "REDIS_URL": ""}
    done = subprocess.run(
        [sys.executable, "-m", f"tests.chaos.{program}", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=580,
    )
    lines = done.stdout.strip().splitlines()
    assert lines, done.stderr[-4000:]
    return json.loads(lines[-1])


def test_every_failpoint_before_and_after_with_every_victim_ends_well():
    report = run("table", "kill")
    assert report["breaks"] == []
    assert report["cases"] >= 44


@once_embedded
def test_jobs_end_well_among_random_deaths():
    report = run("campaign", "--jobs", "6", "--kills", "12", "--seed", "7")
    assert report["breaks"] == []
    assert report["kills"] >= 12


@once_on_postgres
def test_a_restarted_database_and_a_flushed_queue_cost_no_running_job_a_new_start():
    if not is_possible():
        assert os.environ.get("CI") != "true", "CI needs PostgreSQL's and Redis's programs"
        pytest.skip("PostgreSQL's or Redis's programs are not here")
    report = run("outages")
    assert report["breaks"] == []
    assert report["attempts"] == [1] * 7


@once_on_postgres
def test_a_killed_machines_job_goes_on_from_its_checkpoint_on_the_other_machine():
    report = run("hosts", "--postgres", POSTGRES)
    assert report["breaks"] == []
    assert report["spread"] == ["north", "south"]
    assert report["went_on_at_step"] > 1
