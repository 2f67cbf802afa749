"""Who gets which job next, on which device, and how long the others wait."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts_app.models import Project
from accounts_app.permissions import project_for
from work_kit import operations, queries
from work_kit.choices import State
from work_kit.models import Device, Job
from work_kit.operations import DeviceFacts, Resources


@pytest.fixture
def submit(actor, toy):
    def make(by=actor, **kwargs) -> Job:
        return operations.submit_job(actor=by, kind="toy.run", title="Toy", params={}, **kwargs)

    return make


@pytest.fixture
def neighbour(outsider, actor):
    """Somebody of another project."""
    return project_for(outsider, Project.objects.exclude(pk=actor.project.pk).get().slug, "view")


def claim(queue: str = "gpu", device: str = "cuda:0", host: str = "here"):
    return operations.claim_job(queue=queue, host=host, device=device)


def worker(name: str, queue: str = "gpu") -> None:
    operations.beat_worker(name=name, host="here", queue=queue, device=name, pid=1)


def test_a_device_has_one_job_at_a_time(submit) -> None:
    submit(queue="gpu")
    submit(queue="gpu")
    first = claim()
    assert Device.objects.get(name="cuda:0").job_id == first.job_id
    assert claim() is None
    assert claim(device="cuda:1") is not None


def test_a_device_is_free_again_when_its_job_ends(submit) -> None:
    submit(queue="gpu")
    submit(queue="gpu")
    operations.end_attempt(claim(), reason="bad_data", failure={})
    assert Device.objects.get(name="cuda:0").job_id is None
    assert claim() is not None


def test_the_same_card_of_another_host_is_another_device(submit) -> None:
    submit(queue="gpu")
    submit(queue="gpu")
    assert claim() is not None
    assert claim(host="there") is not None


def test_reading_files_needs_no_device_of_its_own(submit) -> None:
    submit(queue="gpu")
    submit(queue="cpu")
    submit(queue="remote")
    assert claim(device="cpu") is not None
    assert claim(queue="cpu", device="cpu") is not None
    assert claim(queue="remote", device="cpu") is not None


def test_projects_take_turns_however_many_jobs_one_has_submitted(submit, actor, neighbour) -> None:
    for _ in range(4):
        submit(queue="cpu")
    late = [submit(by=neighbour, queue="cpu").pk for _ in range(2)]
    order = [claim(queue="cpu").job_id for _ in range(6)]
    assert [place for place, job_id in enumerate(order) if job_id in late] == [1, 3]


def test_the_place_in_line_is_the_order_in_which_workers_take_jobs(submit, neighbour) -> None:
    mine = [submit(queue="cpu") for _ in range(3)]
    theirs = submit(by=neighbour, queue="cpu")
    assert [queries.queue_position(job) for job in [*mine, theirs]] == [1, 3, 4, 2]


def _wait(job: Job) -> float | None:
    place = queries.place_in_line(job)
    assert place is not None
    return place.wait_seconds


def test_nobody_knows_how_long_a_job_waits_without_workers_or_experience(submit) -> None:
    job = submit(queue="cpu")
    assert _wait(job) is None
    worker("one", "cpu")
    assert _wait(job) == 0.0
    second = submit(queue="cpu")
    assert _wait(second) is None


def test_the_wait_is_what_the_jobs_before_usually_take_spread_over_the_workers(submit) -> None:
    now = queries.database_now()
    for seconds in (50, 60, 200):
        ended = submit(queue="cpu")
        Job.objects.filter(pk=ended.pk).update(
            state=State.SUCCEEDED, started_at=now - timedelta(seconds=seconds), finished_at=now
        )
    worker("one", "cpu")
    worker("two", "cpu")
    line = [submit(queue="cpu") for _ in range(5)]
    assert [_wait(job) for job in line] == [0.0, 0.0, 60.0, 60.0, 120.0]


def test_a_running_job_counts_for_what_it_says_is_left(submit) -> None:
    running, waiting = submit(queue="cpu"), submit(queue="cpu")
    worker("one", "cpu")
    claim(queue="cpu")
    Job.objects.filter(pk=running.pk).update(eta_seconds=42.0)
    assert _wait(waiting) == 42.0


def test_a_worker_says_what_its_machine_has(db) -> None:
    operations.beat_worker(
        name="one", host="here", queue="gpu", device="cuda:0", pid=1, resources=Resources(64, 32, 1000)
    )
    operations.note_devices(host="here", devices=[DeviceFacts("cuda:0", "A card", 80, 79)])
    one = queries.workers()[0]
    assert (one.memory_bytes, one.memory_free_bytes, one.disk_free_bytes) == (64, 32, 1000)
    device = Device.objects.get()
    assert (device.label, device.memory_bytes, device.memory_free_bytes) == ("A card", 80, 79)


def test_an_earlier_attempts_steps_after_the_resumed_one_are_not_in_the_curve(submit, toy, tmp_path) -> None:
    from finetune_engine.events import Event

    job = submit(queue="cpu")
    for steps in ([1, 2, 3, 4], [3]):
        Job.objects.filter(pk=job.pk).update(available_at=queries.database_now())
        lease = claim(queue="cpu")
        events = [(n, Event("metric", 1.0, {"step": n})) for n in steps]
        operations.record_events(lease, events, toy, tmp_path)
        operations.end_attempt(lease, reason="worker_lost", failure={})
    assert [point["step"] for point in queries.metric_points(job.pk)] == [1, 2, 3]
