"""The page that says what a model's confidence is worth, and its API."""

from __future__ import annotations

import pytest

from serving_app.models import Calibration
from serving_app.operations.calibrations import calibrate_model
from tests.serving_app.judged import deployed, judged_evaluation

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(project):
    return f"/p/{project.slug}/use/confidence"


@pytest.fixture
def deployment(trained):
    return deployed(trained("Clauses"))


@pytest.fixture
def evaluation(deployment):
    return judged_evaluation(deployment.trained_model)


@pytest.fixture
def calibrated(actor, evaluation):
    return calibrate_model(actor=actor, evaluation=evaluation)


def text_of(answer) -> str:
    return " ".join(answer.content.decode().split())


def test_without_a_model_in_use_the_page_says_what_to_do(client_for, owner, page):
    assert "No model is in use" in text_of(client_for(owner).get(page))


def test_before_a_calibration_the_page_says_what_it_takes(client_for, owner, page, evaluation):
    text = text_of(client_for(owner).get(page))
    assert "at least 300 answers" in text
    assert f'value="{evaluation.pk}"' in text


def test_a_model_that_was_never_judged_leads_to_judging_it(client_for, owner, page, deployment):
    assert "This model was not judged yet" in text_of(client_for(owner).get(page))


def test_a_base_model_cannot_be_calibrated_and_the_page_says_so(client_for, owner, page, project):
    from serving_app.models import Deployment

    Deployment.objects.create(project=project, base_model_key="demo-base", model_name="demo-base")
    text = text_of(client_for(owner).get(page))
    assert "Only models that were trained and judged here can be calibrated" in text
    assert "is not a probability" in text


def test_a_trainer_learns_from_an_evaluation_by_a_button(client_for, trainer, page, evaluation):
    answer = client_for(trainer).post(f"{page}/calibrate", {"evaluation": evaluation.pk}, follow=True)
    assert "From now on each answer says" in text_of(answer)
    assert Calibration.objects.get().created_by == trainer


def test_too_few_answers_are_told_as_a_sentence(client_for, trainer, page, deployment):
    small = judged_evaluation(deployment.trained_model, n=50)
    answer = client_for(trainer).post(f"{page}/calibrate", {"evaluation": small.pk}, follow=True)
    assert "300 are needed" in text_of(answer)


def test_the_page_shows_the_error_before_and_after(client_for, viewer, page, calibrated):
    text = text_of(client_for(viewer).get(page))
    for part in ("before", "after"):
        assert f"{calibrated.report[part]['ece_10_bin']:.1%}" in text
    assert text.count("<svg") > 2


def test_a_promise_shows_what_it_takes_and_sets_nothing(client_for, owner, page, deployment, calibrated):
    text = text_of(client_for(owner).get(page, {"promise": "80"}))
    assert "of the answers" in text
    assert "go to a person" in text
    deployment.refresh_from_db()
    assert deployment.ask_human_below is None


def test_an_owner_sets_the_threshold_by_a_promise(client_for, owner, page, deployment, calibrated):
    from finetune_engine.serve.thresholds import threshold_for

    answer = client_for(owner).post(page, {"promise": "80"}, follow=True)
    deployment.refresh_from_db()
    assert deployment.ask_human_below == threshold_for(0.8, calibrated.report).threshold
    assert "On rows that the curve had not seen" in text_of(answer)


def test_a_promise_that_cannot_be_kept_sets_nothing(client_for, owner, page, deployment, calibrated):
    answer = client_for(owner).post(page, {"promise": "99.9"})
    assert answer.status_code == 409
    deployment.refresh_from_db()
    assert deployment.ask_human_below is None


def test_a_threshold_is_set_by_hand_and_taken_away(client_for, owner, page, deployment):
    client_for(owner).post(page, {"threshold": "62.5"})
    deployment.refresh_from_db()
    assert deployment.ask_human_below == 0.625
    assert "This number is not a probability" in text_of(client_for(owner).get(page))
    client_for(owner).post(page, {"threshold": ""})
    deployment.refresh_from_db()
    assert deployment.ask_human_below is None


def test_saving_the_threshold_as_it_is_shown_changes_nothing(client_for, owner, page, deployment, calibrated):
    exact = 0.978430612756  # shown as 97.843061, which a stricter number would be shown as, too
    type(deployment).objects.filter(pk=deployment.pk).update(ask_human_below=exact)
    client_for(owner).post(page, {"threshold": "97.843061"})
    deployment.refresh_from_db()
    assert deployment.ask_human_below == exact


def test_a_threshold_above_all_answers_says_that_nearly_all_go_to_people(
    client_for, owner, page, deployment, calibrated
):
    client_for(owner).post(page, {"threshold": "100"})
    assert "nearly all answers" in text_of(client_for(owner).get(page))


def test_the_settings_take_a_threshold_without_a_calibration_and_say_what_it_is(client_for, owner, project, deployment):
    from django.urls import reverse

    where = reverse("serving:settings", args=[project.slug, deployment.pk])
    answer = client_for(owner).post(where, {"ask_human_below": "0.7"}, follow=True)
    deployment.refresh_from_db()
    assert deployment.ask_human_below == 0.7
    assert "which is not a probability" in text_of(answer)
    queue = text_of(client_for(owner).get(f"/p/{project.slug}/use/to-check"))
    assert "own number, no probability" in queue


def test_nonsense_is_told_beside_the_field(client_for, owner, page, deployment, calibrated):
    for body in ({"promise": "nan"}, {"promise": "400"}, {"threshold": "-3"}, {"threshold": "x"}):
        assert client_for(owner).post(page, body).status_code == 422


def test_only_owners_set_it(client_for, trainer, page, deployment, calibrated):
    assert client_for(trainer).post(page, {"promise": "80"}).status_code == 403


def test_an_outsider_finds_no_page(client_for, outsider, page, deployment):
    assert client_for(outsider).get(page).status_code == 404


def test_the_api_tells_what_a_promise_takes(client, api_key, deployment, calibrated):
    key = {"Authorization": f"Bearer {api_key('read')}"}
    body = client.get(f"/api/v1/deployments/{deployment.pk}/confidence?promised=0.8", headers=key).json()
    assert body["is_calibrated"]
    assert 0 < body["promise"]["held_out"]["coverage"] <= 1
    assert body["calibration"]["report"]["after"]["ece_10_bin"] < 0.1


def test_the_api_sets_the_threshold_and_calibrates(client, api_key, deployment, evaluation):
    key = {"Authorization": f"Bearer {api_key('admin')}"}
    where = f"/api/v1/deployments/{deployment.pk}/confidence"

    def post(address: str, body: dict) -> tuple[int, dict]:
        answer = client.post(address, body, content_type="application/json", headers=key)
        return answer.status_code, answer.json()

    assert post(where, {"promised": 0.8})[0] == 409
    assert post(f"/api/v1/evaluations/{evaluation.pk}/calibrate", {})[0] == 201
    status, body = post(where, {"promised": 0.8})
    assert status == 200
    assert body["ask_human_below"] == body["promise"]["threshold"]
    assert post(where, {})[0] == 422
    assert post(where, {"ask_human_below": None})[1]["ask_human_below"] is None


def test_looking_at_the_page_takes_a_dozen_queries(client_for, owner, page, calibrated, django_assert_max_num_queries):
    client = client_for(owner)
    client.get(page)
    with django_assert_max_num_queries(16):
        client.get(page)
