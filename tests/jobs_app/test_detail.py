"""The page of one training and its buttons."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs_app.models import TrainedModel, TrainingJob
from work_kit.models import Job, JobEvent, Worker

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(client_for, owner, project):
    """``page(training)``: its page as the owner sees it."""
    return lambda training: client_for(owner).get(f"/p/{project.slug}/train/{training.pk}").content.decode()


def _update(training, **values):
    Job.objects.filter(pk=training.pk).update(**values)


@pytest.fixture
def worker(db):
    """A machine that takes trainings."""
    now = timezone.now()
    return Worker.objects.create(
        name="gpu@mill:1", host="mill", queue="gpu", device="cpu", pid=1, started_at=now, heartbeat_at=now
    )


def test_a_waiting_training_can_be_cancelled_but_not_kept(page, start, worker):
    text = page(start())
    assert "Next in line" in text
    assert "Cancel and discard" in text
    assert "Stop and keep the best so far" not in text


def test_a_waiting_training_says_when_nobody_would_take_it(page, start):
    text = page(start())
    assert "Nobody works on this queue" in text
    assert "Next in line" not in text


def test_a_waiting_training_says_when_it_may_be_done_from_what_earlier_ones_took(page, start, worker):
    begun = timezone.now() - timedelta(hours=3)
    for _ in range(3):
        earlier = start()
        _update(earlier, state="succeeded", phase="done", started_at=begun, finished_at=begun + timedelta(minutes=20))
    _update(start(), state="running", eta_seconds=300.0, host="mill", device="cpu")
    text = page(start())
    assert "It begins in about 5 min" in text
    assert "done in about 25 min" in text


def test_a_paid_training_says_what_it_cost(page, start):
    training = start()
    TrainingJob.objects.filter(pk=training.pk).update(cost_amount="1.25", cost_currency="USD")
    assert "1.25 USD" in page(training)


def test_a_running_training_has_three_stop_buttons_and_shows_its_points(page, start):
    training = start()
    _update(training, state="running", phase="training", progress_done=2, progress_total=10)
    for step in (1, 2):
        JobEvent.objects.create(
            job_id=training.pk, attempt=1, kind="metric", at=timezone.now(), data={"step": step, "train_loss": 0.5}
        )
    text = page(training)
    for words in ("Stop and keep the best so far", "Pause", "Cancel and discard", "2 / 10"):
        assert words in text
    assert "data-events-url" in text


def test_a_failed_training_says_why_what_to_do_and_offers_another_try(page, start):
    training = start()
    _update(training, state="failed", failure_reason="oom_gpu", failure={"message": "Tried to take <b>2 GiB</b>"})
    text = page(training)
    assert "The graphics card ran out of memory." in text
    assert "Choose a smaller batch" in text
    assert "Tried to take &lt;b&gt;2 GiB&lt;/b&gt;" in text
    assert "Train again" in text


def test_a_finished_training_leads_to_evaluation_and_its_model(page, trained, project):
    text = page(trained.training_job)
    assert f"/p/{project.slug}/results/new?model={trained.pk}" in text
    assert f"/p/{project.slug}/train/models/{trained.pk}" in text


def test_cancelling_asks_for_the_name(client_for, owner, project, start):
    training = start()
    browser, url = client_for(owner), f"/p/{project.slug}/train/{training.pk}/stop"
    assert browser.post(url, {"action": "cancel", "confirm_name": "wrong"}).status_code == 422
    training.work.refresh_from_db()
    assert training.work.state == "queued"
    assert browser.post(url, {"action": "cancel", "confirm_name": training.name}).status_code == 302
    training.work.refresh_from_db()
    assert training.work.state == "cancelled"


def test_pause_and_resume(client_for, owner, project, start):
    training = start()
    browser, url = client_for(owner), f"/p/{project.slug}/train/{training.pk}"
    browser.post(f"{url}/stop", {"action": "pause"})
    assert "Resume" in browser.get(url).content.decode()
    browser.post(f"{url}/resume")
    training.work.refresh_from_db()
    assert training.work.state == "queued"


def test_training_again_keeps_the_settings_and_a_double_click_makes_one(client_for, owner, project, start):
    training = start(spec={"r": 4})
    _update(training, state="failed", failure_reason="internal")
    for _ in range(2):
        client_for(owner).post(f"/p/{project.slug}/train/{training.pk}/retry", {"idempotency_key": "again"})
    again = TrainingJob.objects.exclude(pk=training.pk).get()
    assert (again.spec, again.snapshot_id) == (training.spec, training.snapshot_id)


def test_a_viewer_sees_the_page_without_buttons_and_may_press_none(client_for, viewer, project, start):
    training = start()
    browser, url = client_for(viewer), f"/p/{project.slug}/train/{training.pk}"
    assert "Cancel and discard" not in browser.get(url).content.decode()
    for act in ("stop", "resume", "retry"):
        assert browser.post(f"{url}/{act}", {"action": "pause"}).status_code == 403


def test_the_list_is_empty_then_shows_the_training(client_for, owner, project, snapshot, start):
    browser, url = client_for(owner), f"/p/{project.slug}/train/"
    assert "No training yet" in browser.get(url).content.decode()
    start(name="Third <try>")
    assert "Third &lt;try&gt;" in browser.get(url).content.decode()


def test_the_list_asks_the_database_a_dozen_times_at_most(
    client_for, owner, project, start, django_assert_max_num_queries
):
    for _ in range(12):
        start()
    browser = client_for(owner)
    with django_assert_max_num_queries(12):
        browser.get(f"/p/{project.slug}/train/")


def test_the_page_asks_the_database_a_dozen_times_at_most_beyond_the_frame(
    client_for, owner, project, start, django_assert_max_num_queries
):
    training, browser = start(), client_for(owner)
    with django_assert_max_num_queries(19):
        browser.get(f"/p/{project.slug}/train/{training.pk}")


def test_a_model_is_deleted_by_name_by_an_owner_only(client_for, owner, trainer, project, trained):
    url = f"/p/{project.slug}/train/models/{trained.pk}"
    assert "Run record" in client_for(trainer).get(url).content.decode()
    assert client_for(trainer).post(f"{url}/delete", {"confirm_name": trained.name}).status_code == 403
    assert client_for(owner).post(f"{url}/delete", {"confirm_name": "other"}).status_code == 422
    assert TrainedModel.objects.exists()
    client_for(owner).post(f"{url}/delete", {"confirm_name": trained.name})
    assert not TrainedModel.objects.exists()
    assert TrainingJob.objects.exists()


def test_an_outsider_finds_none_of_it(client_for, outsider, project, trained):
    browser = client_for(outsider)
    for path in (f"{trained.training_job_id}", f"{trained.training_job_id}/events", f"models/{trained.pk}/download"):
        assert browser.get(f"/p/{project.slug}/train/{path}").status_code == 404


def test_bad_data_leads_to_the_data_and_shows_no_empty_chart(page, project, start):
    training = start()
    _update(training, state="failed", failure_reason="bad_data", failure={"message": "Row 3 has no answer."})
    text = page(training)
    assert (
        text.count(f'href="/p/{project.slug}/data/{training.dataset_id}') == 2
    )  # the way out, and beside the settings
    assert 'data-live="chart"' not in text
