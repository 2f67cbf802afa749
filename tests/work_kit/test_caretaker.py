"""When leases may be judged, and what a clock that was set does to jobs."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from work_kit import caretaker, operations, queries
from work_kit.caretaker import Patience
from work_kit.choices import State
from work_kit.models import Job


class Clock:
    """Seconds that pass when the test says so: those of this process, and those of the database."""

    def __init__(self, monkeypatch) -> None:
        self.seconds, self.database = 0.0, queries.database_now()
        monkeypatch.setattr(caretaker, "time", SimpleNamespace(monotonic=lambda: self.seconds))
        monkeypatch.setattr(queries, "database_now", lambda: self.database)

    def pass_by(self, seconds: float) -> None:
        self.seconds += seconds
        self.database += timedelta(seconds=seconds)

    def set(self, seconds: float) -> None:
        self.database += timedelta(seconds=seconds)


@pytest.fixture
def clock(db, monkeypatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def patience(clock, monkeypatch, settings) -> Patience:
    """A caretaker that has looked on for a while."""
    fresh = Patience()
    monkeypatch.setattr(caretaker, "patience", fresh)
    clock.pass_by(settings.LEASE_SECONDS)
    assert fresh.saw(clock.database)
    return fresh


@pytest.fixture
def lease(actor, toy, clock):
    operations.submit_job(actor=actor, kind="toy.run", title="Toy", params={})
    return operations.claim_job(queue="cpu", host="here", device="cpu")


def look_on(clock, seconds: float) -> None:
    """The caretaker comes by every second."""
    for _ in range(round(seconds)):
        clock.pass_by(1)
        caretaker.reap()


def state_of(lease) -> str:
    return Job.objects.get(pk=lease.job_id).state


def test_a_silent_workers_job_is_taken_up_again(patience, clock, lease) -> None:
    look_on(clock, 10)
    assert state_of(lease) == State.QUEUED


def test_a_database_that_hung_for_minutes_costs_no_living_job_its_lease(patience, clock, lease, settings) -> None:
    clock.pass_by(120)  # nobody had an answer, and nobody could renew a lease
    caretaker.reap()
    assert state_of(lease) == State.PREPARING
    operations.renew_lease(lease)
    look_on(clock, settings.LEASE_SECONDS)
    assert state_of(lease) == State.PREPARING


def test_after_an_outage_every_lease_has_its_time_to_be_renewed(patience, clock, lease, monkeypatch, settings) -> None:
    with monkeypatch.context() as outage:
        outage.setattr(operations, "reap_expired_leases", lambda: (_ for _ in ()).throw(OperationalError("gone")))
        caretaker.look_after()
    clock.pass_by(settings.LEASE_SECONDS - 1)
    clock.set(600)  # as long as it was away
    caretaker.look_after()
    assert state_of(lease) == State.PREPARING
    operations.renew_lease(lease)
    look_on(clock, settings.LEASE_SECONDS)
    assert state_of(lease) == State.PREPARING


def test_a_clock_set_forward_costs_no_living_job_its_lease(patience, clock, lease) -> None:
    clock.set(3600)
    caretaker.reap()
    assert state_of(lease) == State.PREPARING


def test_a_clock_set_back_does_not_make_a_dead_workers_lease_eternal(patience, clock, lease, settings) -> None:
    clock.set(-3600)
    caretaker.reap()  # it sees the jump, and waits
    look_on(clock, 3 * settings.LEASE_SECONDS + settings.REAP_AFTER_SECONDS + 1)
    assert state_of(lease) == State.QUEUED


def test_a_clock_set_back_does_not_keep_a_new_job_waiting(patience, clock, actor, toy, settings) -> None:
    operations.submit_job(actor=actor, kind="toy.run", title="Toy", params={})
    clock.set(-7200)
    look_on(clock, settings.LEASE_SECONDS + 1)
    assert operations.claim_job(queue="cpu", host="here", device="cpu") is not None


def test_a_process_that_just_began_waits_one_lease_before_it_judges(clock, lease, monkeypatch) -> None:
    monkeypatch.setattr(caretaker, "patience", Patience())
    clock.set(60)
    caretaker.reap()
    assert state_of(lease) == State.PREPARING


def test_a_pause_that_people_asked_for_is_kept_when_the_worker_dies(patience, clock, lease, actor) -> None:
    operations.request_stop(actor=actor, job=Job.objects.get(pk=lease.job_id), action="pause")
    look_on(clock, 10)
    assert state_of(lease) == State.PAUSED
