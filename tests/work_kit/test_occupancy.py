"""Who works on what, and who waits, in the whole house."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts_app.permissions import project_for
from work_kit.models import Device, Job, Worker
from work_kit.occupancy import occupancy
from work_kit.operations import submit_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker() -> Worker:
    now = timezone.now()
    return Worker.objects.create(
        name="cpu@mill:1",
        host="mill",
        queue="cpu",
        device="cpu",
        pid=1,
        started_at=now,
        heartbeat_at=now,
        memory_free_bytes=2**30,
    )


@pytest.fixture
def mine(actor, toy) -> Job:
    return submit_job(actor=actor, kind=toy.name, title="My secret plan", params={})


@pytest.fixture
def foreign(outsider, toy) -> Job:
    from accounts_app.models import Membership

    slug = Membership.objects.get(user=outsider).project.slug
    theirs = project_for(outsider, slug, "view")
    return submit_job(actor=theirs, kind=toy.name, title="Their secret plan", params={})


def test_jobs_of_other_projects_are_there_without_their_names(mine, foreign, project, worker):
    Job.objects.filter(pk=foreign.pk).update(state="running", host="mill", device="cpu")
    house = occupancy([project.pk])
    assert house.workers[0].job is not None
    assert (house.workers[0].job.title, house.workers[0].job.project) == ("", "")
    (line,) = house.lines
    assert [place.job.title for place in line.waiting] == ["My secret plan"]


def test_the_line_counts_everybody_but_names_only_mine(mine, foreign, project, worker):
    (line,) = occupancy([project.pk]).lines
    assert line.count == 2
    assert [(place.position, place.job.title) for place in line.waiting] == [(1, "My secret plan"), (2, "")]


def test_a_silent_worker_is_shown_as_silent_and_a_long_gone_one_not_at_all(worker, project):
    Worker.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    assert [told.is_fresh for told in occupancy([project.pk]).workers] == [False]
    assert not occupancy([project.pk]).has_worker
    Worker.objects.update(heartbeat_at=timezone.now() - timedelta(days=3))
    assert occupancy([project.pk]).workers == []


def test_a_device_is_held_only_under_the_lease_that_it_was_taken_with(mine, project):
    Job.objects.filter(pk=mine.pk).update(state="running", lease_token="now", host="mill", device="cuda:0")
    Device.objects.create(host="mill", name="cuda:0", job=mine, lease_token="now")
    Device.objects.create(host="mill", name="cuda:1", job=mine, lease_token="before")
    assert [told.job is not None for told in occupancy([project.pk]).devices] == [True, False]


def test_the_page_says_how_to_start_a_worker_when_there_is_none(client_for, owner, mine):
    text = client_for(owner).get("/machines").content.decode()
    assert "No worker is running" in text
    assert "manage.py start" in text
    assert "Nobody works on this queue" in text


def test_the_page_tells_a_stranger_nothing_about_our_jobs(client_for, outsider, mine, worker, project):
    text = client_for(outsider).get("/machines").content.decode()
    assert "a job of another project" in text
    assert mine.title not in text
    assert project.name not in text


def test_the_page_asks_the_database_as_often_for_many_jobs_as_for_one(
    client_for, owner, actor, toy, worker, django_assert_max_num_queries
):
    for number in range(15):
        submit_job(actor=actor, kind=toy.name, title=f"Job {number}", params={})
    browser = client_for(owner)
    with django_assert_max_num_queries(16):
        browser.get("/machines")


def test_the_api_gives_a_project_its_own_places(client_for, api_key, mine, foreign, worker):
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    (queue,) = client_for().get("/api/v1/machines", headers=headers).json()["queues"]
    assert queue["waiting"] == 2
    assert [place["job"] for place in queue["mine"]] == [mine.pk]
