"""What a child is told, and what it does when nobody tells it anything any more."""

from __future__ import annotations

import json
import os
import time

import pytest
from django.db import OperationalError

from finetune_engine.ports import ControlFile
from tests.chaos.world import wait_until
from work_kit import operations
from work_kit.keeper import Control, LeaseKeeper
from work_kit.models import Job
from work_kit.operations import Fenced


@pytest.fixture
def path(tmp_path):
    return tmp_path / "control.json"


@pytest.fixture
def lease(actor, toy, transactional_db):
    operations.submit_job(actor=actor, kind="toy.run", title="Toy", params={})
    return operations.claim_job(queue="cpu", host="here", device="cpu")


@pytest.fixture
def keeper(lease, path, settings):
    settings.HEARTBEAT_SECONDS, settings.LEASE_SECONDS = 0.02, 0.4
    keeper = LeaseKeeper(lease, Control(path))
    keeper.start()
    yield keeper
    keeper.stop()


def test_a_child_hears_what_its_supervisor_says(path) -> None:
    control, child = Control(path), ControlFile(path)
    for action in ("go", "pause", "hold", "go"):
        control.tell(action)
        assert child.action() == action


def test_a_child_whose_supervisor_is_frozen_holds_until_it_is_heard_again(path, settings) -> None:
    control, child = Control(path), ControlFile(path)
    control.tell("go")
    long_ago = time.time() - settings.LEASE_SECONDS
    os.utime(path, (long_ago, long_ago))
    assert child.action() == "hold"
    control.tell("go")
    assert child.action() == "go"


def test_a_run_from_a_shell_holds_for_nobody(path) -> None:
    path.write_text(json.dumps({"action": "go"}))
    os.utime(path, (1.0, 1.0))
    assert ControlFile(path).action() == "go"


def test_a_silent_database_makes_the_child_hold_and_its_return_makes_it_go(keeper, path, monkeypatch) -> None:
    def silence(*args):
        raise OperationalError("the server closed the connection unexpectedly")

    child = ControlFile(path)
    wait_until(lambda: child.action() == "go", "it may work", 10)
    with monkeypatch.context() as outage:
        outage.setattr(operations, "renew_lease", silence)
        outage.setattr(operations, "orders", silence)
        wait_until(lambda: child.action() == "hold", "it holds", 10)
        assert keeper.is_silent
    wait_until(lambda: child.action() == "go" and not keeper.is_silent, "it works again", 10)


def test_a_claim_whose_answer_came_late_is_renewed_at_once(lease, path, settings) -> None:
    settings.HEARTBEAT_SECONDS = 1000.0
    ends = Job.objects.get(pk=lease.job_id).lease_expires_at
    keeper = LeaseKeeper(lease, Control(path))
    keeper.start()
    wait_until(lambda: Job.objects.get(pk=lease.job_id).lease_expires_at > ends, "it was renewed", 10)
    keeper.stop()


def test_a_keeper_whose_job_was_deleted_is_fenced(keeper, lease) -> None:
    Job.objects.filter(pk=lease.job_id).delete()
    wait_until(lambda: keeper.fenced, "it noticed", 10)
    with pytest.raises(Fenced):
        keeper.check()
