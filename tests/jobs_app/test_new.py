"""The page that starts a training."""

from __future__ import annotations

import pytest

from jobs_app.models import TrainingJob

pytestmark = pytest.mark.django_db


@pytest.fixture
def url(project):
    return f"/p/{project.slug}/train/new"


@pytest.fixture
def form(snapshot):
    return {"examples": f"snapshot:{snapshot.pk}", "base_model": "demo-base", "preset": "balanced"}


def test_without_data_the_page_leads_to_the_data(client_for, owner, project, url):
    page = client_for(owner).get(url).content.decode()
    assert "There is nothing to learn from yet" in page
    assert f"/p/{project.slug}/data/" in page


def test_the_page_offers_the_data_and_greys_what_cannot_be_trained(client_for, trainer, url, snapshot):
    page = client_for(trainer).get(url, {"snapshot": snapshot.pk}).content.decode()
    assert f'value="snapshot:{snapshot.pk}" selected' in page
    assert "Demo base" in page
    assert "Closed: its maker offers no new training" in page


def test_a_preset_and_a_field_of_advanced_become_settings(client_for, trainer, url, form):
    answer = client_for(trainer).post(url, form | {"preset": "thorough", "learning_rate": "2e-4", "packing": "false"})
    training = TrainingJob.objects.get()
    assert answer.status_code == 302
    assert answer["Location"].endswith(training.pk)
    assert training.spec["learning_rate"] == 2e-4
    assert training.spec["packing"] is False
    assert training.spec["r"] == 32


def test_every_mistake_is_shown_beside_its_field_with_422(client_for, trainer, url, form):
    answer = client_for(trainer).post(url, form | {"r": "many", "num_train_epochs": "0", "base_model": "gpt-4"})
    errors = answer.context["form"].errors
    assert answer.status_code == 422
    assert {"r", "num_train_epochs", "base_model"} <= set(errors)
    assert '<details class="fold section" open>' in answer.content.decode()
    assert not TrainingJob.objects.exists()


def test_a_bad_suffix_is_told_at_its_field(client_for, trainer, url, form):
    answer = client_for(trainer).post(url, form | {"suffix": "a:b"})
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, ["suffix"])


def test_a_double_click_starts_one_training(client_for, trainer, url, form):
    browser = client_for(trainer)
    places = {browser.post(url, form | {"idempotency_key": "once"})["Location"] for _ in range(2)}
    assert len(places) == TrainingJob.objects.count() == 1


def test_data_of_another_project_cannot_be_chosen(client_for, trainer, outsider, url, form, snapshot):
    from accounts_app.models import Project

    snapshot.project = Project.objects.exclude(pk=snapshot.project_id).get()
    snapshot.save()
    assert client_for(trainer).post(url, form).status_code == 422


@pytest.mark.parametrize("who", ["reviewer", "viewer"])
def test_reviewers_and_viewers_may_not_start_one(request, client_for, url, form, who):
    browser = client_for(request.getfixturevalue(who))
    assert browser.get(url).status_code == 403
    assert browser.post(url, form).status_code == 403


def test_an_outsider_sees_no_project(client_for, outsider, url):
    assert client_for(outsider).get(url).status_code == 404
