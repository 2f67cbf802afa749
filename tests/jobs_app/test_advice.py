"""The page and the call that say whether to fine-tune."""

from __future__ import annotations

import pytest

from jobs_app import queries
from jobs_app.models import AdviceAnswers

pytestmark = pytest.mark.django_db
ANSWERS = {"specificity": "high", "examples": "1500", "privacy": "high", "changes": "rarely", "tried_prompting": "on"}


@pytest.fixture
def url(project):
    return f"/p/{project.slug}/train/advice"


def test_the_form_begins_with_what_the_data_says(client_for, viewer, url, dataset):
    page = client_for(viewer).get(url)
    assert page.context["form"]["examples"].value() == 40
    assert page.context["advice"] is None


def test_answers_are_remembered_with_their_verdict(client_for, trainer, url, project, dataset):
    dataset.accepted, dataset.needs_review = 42, 0
    dataset.save()
    answer = client_for(trainer).post(url, ANSWERS)
    assert answer.context["advice"].verdict == "fine_tune"
    assert queries.kept_verdict(project) == "fine_tune"
    assert client_for(trainer).get(url).context["form"]["specificity"].value() == "high"


def test_a_viewer_gets_advice_but_changes_nothing(client_for, viewer, url):
    answer = client_for(viewer).post(url, ANSWERS)
    assert answer.context["advice"].reasons
    assert not AdviceAnswers.objects.exists()


def test_a_missing_answer_is_told_at_its_field(client_for, trainer, url):
    answer = client_for(trainer).post(url, {name: value for name, value in ANSWERS.items() if name != "examples"})
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, ["examples"])


def test_the_verdict_stands_in_the_first_step_of_the_project(client_for, trainer, url, project, dataset):
    client_for(trainer).post(url, ANSWERS | {"examples": "40"})
    home = client_for(trainer).get(f"/p/{project.slug}/").content.decode()
    assert url in home
    assert "More good examples come first." in home


def test_the_call_answers_with_verdict_and_reasons(client, headers):
    body = {"specificity": "low", "examples": 10, "privacy": "low"}
    told = client.post("/api/v1/advice", body, content_type="application/json", headers=headers).json()
    assert told["verdict"] == "prompt"
    assert told["reasons"]
    assert told["would_change"]


def test_the_call_takes_examples_from_a_dataset(client, headers, dataset):
    body = {"dataset": dataset.pk, "specificity": "high", "privacy": "high"}
    told = client.post("/api/v1/advice", body, content_type="application/json", headers=headers).json()
    assert any(sentence.startswith("40 examples") for sentence in told["reasons"])


def test_a_wrong_answer_is_refused_by_its_field(client, headers):
    answer = client.post("/api/v1/advice", {"privacy": "total"}, content_type="application/json", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "privacy"
