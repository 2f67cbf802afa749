"""A job is in exactly one state, and only the holder of its lease may move it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts_app.models import AuditEntry
from finetune_engine.errors import UserError
from finetune_engine.events import Event
from work_kit import operations, queries
from work_kit.choices import State
from work_kit.models import Job, JobEvent
from work_kit.operations import Fenced


@pytest.fixture
def submit(actor, toy):
    def make(**kwargs) -> Job:
        values = {"kind": "toy.run", "title": "Toy", "params": {}} | kwargs
        return operations.submit_job(actor=actor, **values)

    return make


def claim():
    return operations.claim_job(queue="cpu", host="here", device="cpu")


def shift_clock(monkeypatch, seconds: float) -> None:
    real = queries.database_now()
    monkeypatch.setattr(queries, "database_now", lambda: real + timedelta(seconds=seconds))


def test_submitting_leaves_a_row_an_event_and_an_audit_entry(submit) -> None:
    job = submit()
    assert job.state == State.QUEUED
    assert [event.kind for event in job.events.all()] == ["state"]
    assert AuditEntry.objects.filter(act="toy.run.submit", subject=f"job {job.pk}").count() == 1


def test_the_same_idempotency_key_gives_the_first_job(submit) -> None:
    first, second = submit(idempotency_key="once"), submit(idempotency_key="once")
    assert first.pk == second.pk
    assert Job.objects.count() == 1


def test_jobs_without_a_key_are_not_confused(submit) -> None:
    assert submit().pk != submit().pk


def test_only_one_claim_gets_the_job(submit) -> None:
    submit()
    assert claim() is not None
    assert claim() is None


def test_a_job_that_may_not_start_yet_is_not_claimed(submit) -> None:
    job = submit()
    Job.objects.filter(pk=job.pk).update(available_at=queries.database_now() + timedelta(seconds=60))
    assert claim() is None


def test_a_project_with_a_running_job_waits_for_one_without(submit, actor, outsider, toy) -> None:
    from accounts_app.models import Project
    from accounts_app.permissions import project_for

    submit()
    submit()
    claim()
    elsewhere = project_for(outsider, Project.objects.exclude(pk=actor.project.pk).get().slug, "view")
    theirs = operations.submit_job(actor=elsewhere, kind="toy.run", title="Theirs", params={})
    assert claim().job_id == theirs.pk


def test_a_fenced_holder_cannot_write(submit, toy, monkeypatch, tmp_path) -> None:
    submit()
    old = claim()
    shift_clock(monkeypatch, 3600)
    operations.reap_expired_leases()
    shift_clock(monkeypatch, 3600)
    new = claim()
    assert new.attempt == old.attempt + 1
    with pytest.raises(Fenced):
        operations.renew_lease(old)
    with pytest.raises(Fenced):
        operations.record_events(old, [(0, Event("log", 0.0, {"message": "late"}))], toy, tmp_path)
    with pytest.raises(Fenced):
        operations.succeed_job(old, toy, {})
    assert "commit" not in toy.calls


def test_a_living_lease_is_not_reaped(submit, monkeypatch) -> None:
    submit()
    claim()
    shift_clock(monkeypatch, 4)  # the tests' lease is 3 s, and reaping waits 5 s more
    assert operations.reap_expired_leases() == []


def test_a_job_that_cannot_be_taken_back_holds_up_no_other(submit, actor, toy, monkeypatch) -> None:
    broken, other = submit(), submit()
    for _ in range(2):
        claim()
    operations.request_stop(actor=actor, job=broken, action="cancel")
    monkeypatch.setattr(toy, "ended", lambda job: 1 / 0)
    shift_clock(monkeypatch, 3600)
    assert operations.reap_expired_leases() == [other.pk]


def test_each_event_line_is_recorded_once(submit, toy, tmp_path) -> None:
    job = submit()
    lease = claim()
    batch = [(0, Event("log", 1.0, {"message": "a"})), (40, Event("metric", 2.0, {"step": 1}))]
    operations.record_events(lease, batch, toy, tmp_path)
    operations.record_events(lease, [*batch, (80, Event("log", 3.0, {"message": "b"}))], toy, tmp_path)
    assert list(JobEvent.objects.filter(job=job, seq__isnull=False).values_list("seq", flat=True)) == [0, 40, 80]


def test_progress_moves_the_job_and_writes_no_event(submit, toy, tmp_path) -> None:
    job = submit()
    operations.record_events(
        claim(), [(0, Event("progress", 1.0, {"done": 3, "total": 12, "unit": "rows"}))], toy, tmp_path
    )
    job.refresh_from_db()
    assert (job.state, job.progress_done, job.progress_total) == (State.RUNNING, 3, 12)
    assert not job.events.filter(kind="progress").exists()


def test_a_hundred_percent_is_shown_only_when_everything_is_saved(submit, toy, tmp_path) -> None:
    job = submit()
    lease = claim()
    operations.record_events(lease, [(0, Event("progress", 1.0, {"done": 12, "total": 12}))], toy, tmp_path)
    job.refresh_from_db()
    assert queries.job_card(job).percent < 100
    operations.begin_saving(lease)
    operations.succeed_job(lease, toy, {})
    job.refresh_from_db()
    assert queries.job_card(job).percent == 100


def test_a_lost_worker_is_tried_again_after_growing_pauses_and_then_a_crash_loop(submit) -> None:
    job = submit()
    pauses = []
    for _ in range(2):
        Job.objects.filter(pk=job.pk).update(available_at=queries.database_now())
        state = operations.end_attempt(claim(), reason="worker_lost", failure={"message": "gone"})
        job.refresh_from_db()
        assert state == State.QUEUED
        pauses.append(round((job.available_at - queries.database_now()).total_seconds()))
    assert pauses == [10, 20]
    Job.objects.filter(pk=job.pk).update(available_at=queries.database_now())
    assert operations.end_attempt(claim(), reason="worker_lost", failure={"message": "gone"}) == State.FAILED
    job.refresh_from_db()
    assert job.failure_reason == "crash_loop"


def test_an_attempt_that_reached_a_checkpoint_is_followed_at_once(submit, toy, tmp_path) -> None:
    job = submit()
    lease = claim()
    operations.record_events(lease, [(0, Event("checkpoint", 1.0, {"step": 10}))], toy, tmp_path)
    operations.end_attempt(lease, reason="worker_lost", failure={})
    job.refresh_from_db()
    assert job.fruitless_attempts == 0
    assert claim() is not None


def test_what_a_person_must_mend_is_not_retried(submit, toy) -> None:
    job = submit()
    operations.end_attempt(claim(), reason="bad_data", failure={"message": "Row 7 is not valid JSON."})
    job.refresh_from_db()
    assert (job.state, job.failure_reason) == (State.FAILED, "bad_data")
    assert queries.job_card(job).failure_message == "Row 7 is not valid JSON."
    assert toy.calls == ["ended:failed"]


@pytest.mark.parametrize(("action", "state"), [("cancel", State.CANCELLED), ("pause", State.PAUSED)])
def test_a_waiting_job_obeys_at_once(submit, actor, action, state) -> None:
    job = operations.request_stop(actor=actor, job=submit(), action=action)
    assert job.state == state
    assert claim() is None


def test_a_paused_job_resumes(submit, actor) -> None:
    job = operations.request_stop(actor=actor, job=submit(), action="pause")
    operations.resume_job(actor=actor, job=job)
    assert claim() is not None


@pytest.mark.parametrize("paused", ["waiting", "by its worker", "without a worker"])
def test_a_pause_costs_none_of_the_time_that_a_job_is_allowed(submit, actor, paused, monkeypatch) -> None:
    job = submit(max_seconds=100)
    lease = claim()
    if paused == "waiting":
        operations.release_job(lease, state=State.QUEUED)
    operations.request_stop(actor=actor, job=job, action="pause")
    if paused == "by its worker":
        operations.release_job(lease, state=State.PAUSED)
    elif paused == "without a worker":
        operations.end_attempt(lease, reason="worker_lost", failure={})
    shift_clock(monkeypatch, 3600)
    operations.resume_job(actor=actor, job=job)
    assert not operations.orders(claim()).is_late
    job.refresh_from_db()
    assert job.params["seconds_left"] <= job.params["max_seconds"] == 100


def test_waiting_for_its_data_costs_a_job_none_of_the_time_that_it_is_allowed(submit, monkeypatch) -> None:
    submit(max_seconds=100)
    operations.release_job(claim(), state=State.QUEUED, uncounted=True)
    shift_clock(monkeypatch, 3600)
    lease = claim()
    assert lease.attempt == 1
    assert not operations.orders(lease).is_late


def test_a_running_job_is_stopping_until_its_worker_obeys(submit, actor) -> None:
    job = submit()
    lease = claim()
    assert operations.request_stop(actor=actor, job=job, action="cancel").state == State.STOPPING
    assert operations.renew_lease(lease).stop_action == "cancel"
    operations.release_job(lease, state=State.CANCELLED)
    job.refresh_from_db()
    assert job.state == State.CANCELLED


def test_cancelling_a_job_whose_worker_died_ends_it(submit, actor, monkeypatch) -> None:
    job = submit()
    claim()
    operations.request_stop(actor=actor, job=job, action="cancel")
    shift_clock(monkeypatch, 3600)
    operations.reap_expired_leases()
    job.refresh_from_db()
    assert job.state == State.CANCELLED


def test_a_job_that_has_ended_says_so(submit, actor, toy) -> None:
    job = submit()
    operations.succeed_job(claim(), toy, {})
    with pytest.raises(UserError, match="ended already"):
        operations.request_stop(actor=actor, job=job, action="cancel")
    job.refresh_from_db()
    assert job.state == State.SUCCEEDED


def test_metric_points_count_a_repeated_step_once_and_the_newest_wins(submit, toy, tmp_path) -> None:
    job = submit()
    lease = claim()
    first = [(n, Event("metric", 1.0, {"step": n, "train_loss": 9.0})) for n in (1, 2, 3)]
    operations.record_events(lease, first, toy, tmp_path)
    operations.end_attempt(lease, reason="worker_lost", failure={})
    Job.objects.filter(pk=job.pk).update(available_at=queries.database_now())
    again = [(n, Event("metric", 2.0, {"step": n, "train_loss": 1.0})) for n in (2, 3, 4)]
    operations.record_events(claim(), again, toy, tmp_path)
    assert [(p["step"], p["train_loss"]) for p in queries.metric_points(job.pk)] == [
        (1, 9.0),
        (2, 1.0),
        (3, 1.0),
        (4, 1.0),
    ]


def test_what_a_lost_workers_attempt_had_kept_fills_gaps_and_overwrites_no_later_attempt(submit, toy, tmp_path) -> None:
    def told(loss: float, *steps: int) -> list[tuple[int, Event]]:
        return [(n, Event("metric", 1.0, {"step": n, "train_loss": loss})) for n in steps]

    job = submit()
    for events in (told(1.0, 1, 2), told(2.0, 3, 4)):
        lease = claim()
        operations.record_events(lease, events, toy, tmp_path)
        operations.end_attempt(lease, reason="worker_lost", failure={})
        Job.objects.filter(pk=job.pk).update(available_at=queries.database_now())
    operations.record_events(claim(), told(1.0, 3, 4, 5), toy, tmp_path, of_attempt=1)
    assert [(p["step"], p["train_loss"]) for p in queries.metric_points(job.pk)] == [
        (1, 1.0),
        (2, 1.0),
        (3, 2.0),
        (4, 2.0),
        (5, 1.0),
    ]
