"""Faults of one job at a time: what its process does, what the disk and the database do to it."""

from __future__ import annotations

import contextlib
import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from django.db import OperationalError, connection

from finetune_engine.errors import UserError
from jobs_app.models import Checkpoint, TrainedModel
from jobs_app.operations import checkpoints
from tests.chaos.invariants import breaks
from tests.chaos.kind import ChaosKind
from tests.chaos.world import wait_until
from work_kit import keeper, machine, operations, process, supervisor
from work_kit.choices import State
from work_kit.models import Job, JobEvent

pytestmark = pytest.mark.django_db(transaction=True)


def check(job: Job, settings, tmp_path) -> Job:
    job.refresh_from_db()
    assert breaks([job.pk], tmp_path, [Path(settings.WORK_DIR)]) == []
    return job


def work_in_thread() -> threading.Thread:
    def work() -> None:
        supervisor.run_waiting("gpu")
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def lose_the_answer(monkeypatch, module, name: str) -> None:
    """The database carries out the next transaction of this operation, and its answer to the commit is lost."""
    real, lost = getattr(module, name), []

    def once(*args, **kwargs):
        answer = real(*args, **kwargs)
        if not lost:
            lost.append(answer)
            connection.close()
            raise OperationalError("server closed the connection unexpectedly")
        return answer

    monkeypatch.setattr(module, name, once)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("segfault", "crash_loop"), ("quiet", "crash_loop"), ("memory", "oom_host"), ("full", "disk_full")],
)
def test_a_program_that_fails_ends_its_job_with_the_reason(fault, reason, toy_training, run_jobs, settings, tmp_path):
    job = toy_training(fault=fault)
    run_jobs()
    job = check(job, settings, tmp_path)
    assert (job.state, job.failure_reason) == (State.FAILED, reason)


def test_a_full_disk_keeps_the_checkpoint_before(toy_training, run_jobs, tmp_path):
    job = toy_training(fault="full")
    run_jobs()
    assert list(Checkpoint.objects.filter(is_committed=True).values_list("step", flat=True)) == [4]
    assert checkpoints.newest_usable(job.training, tmp_path / "elsewhere").name == "step-00000004"


def test_memory_that_ran_out_is_tried_again_in_smaller_pieces_at_most_twice_and_says_so(toy_training, run_jobs):
    job = toy_training(fault="memory")
    job.training.spec = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
    job.training.save()
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.attempt, job.params["made_smaller"]) == (State.FAILED, 3, 2)
    told = [event.data["message"] for event in job.events.filter(kind="log", data__reason="oom_host")]
    assert "4 rows at a time instead of 8, added up over 2 rounds" in told[0]
    assert "2 rows at a time instead of 4, added up over 4 rounds" in told[1]


def test_too_little_disk_is_told_before_anything_begins(toy_training, run_jobs, settings):
    settings.MINIMUM_FREE_DISK_BYTES = 2**60
    job = toy_training()
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.failure_reason) == (State.FAILED, "disk_full")
    assert "MB of free disk" in job.failure["message"]


def test_a_child_that_fills_the_machine_is_ended_before_the_kernel_must(toy_training, run_jobs, monkeypatch):
    monkeypatch.setattr(process, "WATCH_SECONDS", 0.0)
    monkeypatch.setattr(machine, "memory", lambda: (8, 0))  # a tiny machine, and it is full
    job = toy_training(steps=200)
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.failure_reason) == (State.FAILED, "oom_host")


def test_a_disk_that_is_full_for_a_moment_keeps_the_child_from_hearing_and_costs_nothing(
    toy_training, run_jobs, settings, tmp_path, monkeypatch
):
    real, told = keeper.Control.tell, []

    def tell(self, action, *, is_leaving=False):
        told.append(action)
        if 3 < len(told) < 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, action, is_leaving=is_leaving)

    monkeypatch.setattr(keeper.Control, "tell", tell)
    job = toy_training(steps=40, step_seconds=0.05)
    run_jobs()
    assert len(told) >= 8
    job = check(job, settings, tmp_path)
    assert (job.state, job.attempt) == (State.SUCCEEDED, 1)


def test_a_kill_by_the_kernel_for_memory_has_its_own_reason(toy_training, run_jobs, monkeypatch):
    counts = iter(range(1000))
    monkeypatch.setattr(machine, "out_of_memory_kills", lambda: next(counts))
    monkeypatch.setenv("TUNESMITH_FAILPOINT", "event#3:after:kill")
    job = toy_training()
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.failure_reason) == (State.FAILED, "oom_host")


def test_a_job_that_takes_too_long_ends_at_its_deadline_and_keeps_its_checkpoint(toy_training, run_jobs):
    job = toy_training(max_seconds=1.5, steps=2000, save_steps=1000)
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.failure_reason) == (State.FAILED, "deadline")
    assert Checkpoint.objects.filter(training_job_id=job.pk, is_committed=True).count() == 1


@pytest.mark.parametrize("operation", ["succeed_job", "begin_saving", "record_events"])
def test_a_lost_answer_to_a_commit_changes_nothing(operation, toy_training, run_jobs, settings, tmp_path, monkeypatch):
    lose_the_answer(monkeypatch, operations, operation)
    job = toy_training()
    run_jobs()
    job = check(job, settings, tmp_path)
    assert (job.state, job.attempt) == (State.SUCCEEDED, 1)


def test_a_claim_whose_answer_was_lost_is_found_again(toy_training, run_jobs, settings, tmp_path, monkeypatch):
    lose_the_answer(monkeypatch, operations, "claim_job")
    job = toy_training()
    run_jobs()
    job = check(job, settings, tmp_path)
    assert (job.state, job.attempt) == (State.SUCCEEDED, 1)


@pytest.mark.parametrize("operation", ["begin_saving", "succeed_job"])
def test_cancel_reaches_a_job_whose_results_are_being_stored(
    operation, toy_training, run_jobs, actor, settings, tmp_path, monkeypatch
):
    real = getattr(operations, operation)
    job = toy_training()

    def cancelled_first(lease, *args):
        operations.request_stop(actor=actor, job=Job.objects.get(pk=job.pk), action="cancel")
        return real(lease, *args)

    monkeypatch.setattr(operations, operation, cancelled_first)
    run_jobs()
    job = check(job, settings, tmp_path)
    assert job.state == State.CANCELLED
    assert not TrainedModel.objects.exists()


def test_cancel_at_every_moment_ends_in_one_state(toy_training, actor, settings, tmp_path):
    """Queued, preparing, running, saving, done: whoever is first wins, and the loser is told."""
    for event in (0, 2, 4, 7, 12, 16):
        job = toy_training(steps=8, step_seconds=0.01)
        thread = work_in_thread()
        wait_until(lambda job=job, event=event: job.events.count() >= event, "it came that far", 30, 0.005)
        with contextlib.suppress(UserError):  # it has ended already
            operations.request_stop(actor=actor, job=job, action="cancel")
        thread.join(60)
        assert check(job, settings, tmp_path).state in {State.CANCELLED, State.SUCCEEDED}


def test_events_that_a_killed_worker_did_not_store_are_stored_by_the_next(toy_training, run_jobs, settings, tmp_path):
    job = toy_training(steps=6, save_steps=2)
    lease = operations.claim_job(queue="gpu", host="gone", device="gone")
    out = Path(settings.WORK_DIR) / job.pk / "out"
    out.mkdir(parents=True)
    arguments = ChaosKind().prepare(Job.objects.get(pk=job.pk), out.parent)
    child = process.Child(
        "tests.chaos.trainer", arguments, events=out.parent / "attempt-1.jsonl", errors=out.parent / "attempt-1.log"
    )
    assert child.process.wait(60) == 0  # it did all its work, and nobody stored a word of it
    operations.end_attempt(lease, reason="worker_lost", failure={})
    run_jobs()
    job = check(job, settings, tmp_path)
    assert job.state == State.SUCCEEDED
    assert JobEvent.objects.filter(job=job, attempt=1, kind="metric").count() == 6
    assert not JobEvent.objects.filter(job=job, attempt=2, kind="metric").exists()  # its last checkpoint was at the end


def test_a_former_child_that_outlives_its_right_is_ended_by_the_next_holder(toy_training, run_jobs, settings, tmp_path):
    job = toy_training(steps=400, step_seconds=0.05)
    lease = operations.claim_job(queue="gpu", host="frozen", device="frozen")
    out = Path(settings.WORK_DIR) / job.pk / "out"
    out.mkdir(parents=True)
    arguments = ChaosKind().prepare(Job.objects.get(pk=job.pk), out.parent)
    former = process.Child(
        "tests.chaos.trainer", arguments, events=out.parent / "attempt-1.jsonl", errors=out.parent / "attempt-1.log"
    )
    wait_until(lambda: len(list(out.glob("checkpoints/step-*"))) > 0, "it has a checkpoint", 60)
    operations.end_attempt(lease, reason="worker_lost", failure={})
    Job.objects.filter(pk=job.pk).update(params=job.params | {"steps": 12})
    run_jobs()
    assert not psutil.pid_exists(former.process.pid)
    job.refresh_from_db()
    assert (job.state, job.attempt) == (State.SUCCEEDED, 2)


def test_fifty_submits_with_one_key_make_one_job(actor, transactional_db):
    from tests.chaos import kind

    kind.install()

    def submit(_: int) -> str:
        try:
            job = operations.submit_job(actor=actor, kind=kind.KIND, title="Toy", params={}, idempotency_key="once")
            return str(job.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as pool:
        answers = set(pool.map(submit, range(50)))
    assert len(answers) == Job.objects.count() == 1
