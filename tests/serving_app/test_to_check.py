"""The queue of answers that a person must look at."""

from __future__ import annotations

import threading

import pytest

from finetune_engine.errors import UserError
from serving_app.models import Feedback, Prediction
from serving_app.operations.escalations import confirm_answer, correct_answer, reopen_answer
from serving_app.queries.escalations import next_to_check, queue_counts, to_check_of
from tests.serving_app.judged import asked

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(project):
    return f"/p/{project.slug}/use/to-check"


def acting(user, project):
    from accounts_app.permissions import project_for

    return project_for(user, project.slug, "view")


def text_of(answer) -> str:
    return " ".join(answer.content.decode().split())


def test_only_answers_that_nobody_has_handled_wait(project):
    from django.utils import timezone

    waits = asked(project, 1)
    asked(project, 2, needs_human=False)
    asked(project, 3, handled_at=timezone.now())
    asked(project, 4, shadow_of="another")
    asked(project, 5, status=499)
    assert list(to_check_of(project)) == [waits]


def test_the_oldest_comes_first_or_the_least_sure(project):
    first, second, third = asked(project, 1), asked(project, 2, calibrated=0.1), asked(project, 3, calibrated=0.3)
    unknown = asked(project, 4, calibrated=None, confidence=None)
    assert list(to_check_of(project)) == [first, second, third, unknown]
    assert list(to_check_of(project, "least_sure")) == [unknown, second, third, first]


@pytest.mark.parametrize("order", ["oldest", "least_sure"])
def test_skipping_goes_through_all_and_begins_again(project, order):
    for number in range(1, 5):
        asked(project, number, calibrated=0.2 + 0.1 * (number % 2))
    rows = list(to_check_of(project, order))
    seen, card = [], None
    for _ in range(5):
        card = next_to_check(project, order, card)
        seen.append(card)
    assert seen == [*rows, rows[0]]


def test_right_as_it_is_becomes_good_feedback(project, reviewer):
    prediction = asked(project)
    confirm_answer(actor=acting(reviewer, project), prediction=prediction)
    prediction.refresh_from_db()
    assert (prediction.verdict, prediction.handled_by) == ("good", reviewer)
    assert prediction.handled_at is not None
    assert Feedback.objects.get().by_user == reviewer


def test_a_correction_becomes_bad_feedback_with_the_right_answer(project, reviewer):
    prediction = asked(project)
    said = correct_answer(actor=acting(reviewer, project), prediction=prediction, correction="Termination")
    assert (said.verdict, said.correction) == ("bad", "Termination")
    assert queue_counts(project, reviewer) == queue_counts(project, reviewer).__class__(0, False, 1, 1)


@pytest.mark.parametrize(("correction", "code"), [("  ", "correction_missing"), (" Payment ", "correction_unchanged")])
def test_a_correction_must_say_something_else(project, reviewer, correction, code):
    prediction = asked(project)
    with pytest.raises(UserError) as caught:
        correct_answer(actor=acting(reviewer, project), prediction=prediction, correction=correction)
    assert caught.value.code == code
    assert to_check_of(project).count() == 1


def test_the_second_reviewer_is_told_that_somebody_was_first(project, reviewer, trainer):
    prediction = asked(project)
    confirm_answer(actor=acting(reviewer, project), prediction=prediction)
    with pytest.raises(UserError) as caught:
        correct_answer(actor=acting(trainer, project), prediction=prediction, correction="Termination")
    assert (caught.value.code, caught.value.status) == ("already_handled", 409)
    assert Feedback.objects.get().verdict == "good"


@pytest.mark.django_db(transaction=True)
def test_of_many_reviewers_at_once_exactly_one_decides(project, reviewer):
    from django.db import connection

    prediction, actor, outcomes = asked(project), acting(reviewer, project), []
    start = threading.Barrier(6)

    def decide() -> None:
        start.wait()
        try:
            confirm_answer(actor=actor, prediction=Prediction.objects.get(pk=prediction.pk))
            outcomes.append("decided")
        except UserError as error:
            outcomes.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=decide) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["already_handled"] * 5 + ["decided"]


def test_feedback_that_is_refused_leaves_the_answer_waiting(project, reviewer):
    prediction = asked(project, status=500)
    with pytest.raises(UserError):
        confirm_answer(actor=acting(reviewer, project), prediction=prediction)
    prediction.refresh_from_db()
    assert prediction.handled_at is None


def test_undo_takes_the_verdict_back_and_the_answer_waits_again(project, reviewer):
    prediction = asked(project)
    confirm_answer(actor=acting(reviewer, project), prediction=prediction)
    reopen_answer(actor=acting(reviewer, project), prediction=prediction)
    assert (prediction.handled_at, prediction.verdict) == (None, "")
    assert not Feedback.objects.exists()
    assert list(to_check_of(project)) == [prediction]


def test_undo_leaves_what_somebody_else_said_since(project, reviewer, trainer):
    from serving_app.operations import give_feedback

    prediction = asked(project)
    confirm_answer(actor=acting(reviewer, project), prediction=prediction)
    give_feedback(actor=acting(trainer, project), prediction=prediction, verdict="bad", correction="Termination")
    reopen_answer(actor=acting(reviewer, project), prediction=prediction)
    assert (prediction.handled_at, prediction.correction) == (None, "Termination")
    assert Feedback.objects.get().by_user == trainer


def test_the_card_shows_what_somebody_already_said_of_the_answer(client_for, reviewer, project, page):
    asked(project, verdict="bad", correction="Termination <b>")
    text = text_of(client_for(reviewer).get(page))
    assert "Somebody said that it should have been" in text
    assert "Termination &lt;b&gt;</textarea>" in text


def test_nobody_undoes_another_persons_decision(project, reviewer, trainer):
    prediction = asked(project)
    confirm_answer(actor=acting(reviewer, project), prediction=prediction)
    with pytest.raises(UserError, match="not a decision of yours"):
        reopen_answer(actor=acting(trainer, project), prediction=prediction)


def test_a_reviewer_works_through_the_queue_without_javascript(client_for, reviewer, project, page):
    for number in (1, 2, 3):
        asked(project, number)
    client = client_for(reviewer)
    assert "About 4 of 10 answers like this are right." in text_of(client.get(page))
    answer = client.post(page, {"prediction": f"request{1:019d}", "action": "right"}, follow=True)
    assert f'value="request{2:019d}"' in text_of(answer)
    answer = client.post(page, {"prediction": f"request{2:019d}", "action": "skip"}, follow=True)
    assert f'value="request{3:019d}"' in text_of(answer)
    body = {"prediction": f"request{3:019d}", "action": "correct", "correction": "Termination"}
    answer = client.post(page, body, follow=True)
    assert f'value="request{2:019d}"' in text_of(answer)
    answer = client.post(page, {"prediction": f"request{2:019d}", "action": "undo"}, follow=True)
    assert f'value="request{3:019d}"' in text_of(answer)
    assert to_check_of(project).count() == 2


def test_a_refused_correction_is_shown_again_with_the_reason(client_for, reviewer, project, page):
    asked(project)
    body = {"prediction": f"request{1:019d}", "action": "correct", "correction": "Payment "}
    answer = client_for(reviewer).post(page, body)
    assert answer.status_code == 422
    assert "This is what the model answered" in text_of(answer)


def test_somebody_else_was_first_is_told_and_the_next_card_comes(client_for, reviewer, trainer, project, page):
    taken, _other = asked(project, 1), asked(project, 2)
    confirm_answer(actor=acting(trainer, project), prediction=taken)
    answer = client_for(reviewer).post(page, {"prediction": taken.request_id, "action": "right"}, follow=True)
    assert "somebody was first" in text_of(answer)
    assert f'value="request{2:019d}"' in text_of(answer)


def test_what_the_model_wrote_is_never_markup(client_for, reviewer, project, page):
    asked(project, output="<script>alert(1)</script>", question_text="<b>x</b>")
    text = text_of(client_for(reviewer).get(page))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_a_viewer_sees_the_queue_and_may_not_decide(client_for, viewer, project, page):
    asked(project)
    client = client_for(viewer)
    assert "takes the role of reviewer" in text_of(client.get(page))
    assert client.post(page, {"prediction": f"request{1:019d}", "action": "right"}).status_code == 403


def test_an_outsider_finds_no_queue(client_for, outsider, project, page):
    asked(project)
    assert client_for(outsider).get(page).status_code == 404


def test_an_empty_queue_says_what_comes_here(client_for, reviewer, page):
    assert "No answer is put before a person" in text_of(client_for(reviewer).get(page))


def test_the_api_lists_and_decides(client, api_key, project):
    asked(project, 1), asked(project, 2)
    key = {"Authorization": f"Bearer {api_key('train')}"}
    listed = client.get("/api/v1/predictions/to-check?limit=1", headers=key).json()
    assert [one["id"] for one in listed["data"]] == [f"request{1:019d}"]
    assert listed["next_cursor"]
    where = f"/api/v1/predictions/request{1:019d}/check"

    def post(**body: str):
        return client.post(where, body, content_type="application/json", headers=key)

    assert post(action="correct", correction="Termination").json()["verdict"] == "bad"
    assert post(action="right").status_code == 409
    assert post(action="undo").json()["handled_at"] is None
    assert post(action="burn").status_code == 422


def test_the_api_of_another_project_finds_nothing(client, api_key, project, outsider):
    from accounts_app.models import Membership

    asked(project)
    theirs = Membership.objects.get(user=outsider).project
    key = {"Authorization": f"Bearer {api_key('admin', of=theirs)}"}
    body = {"action": "right"}
    where = f"/api/v1/predictions/request{1:019d}/check"
    assert client.post(where, body, content_type="application/json", headers=key).status_code == 404


def test_a_key_that_may_only_ask_decides_nothing(client, api_key, project):
    asked(project)
    key = {"Authorization": f"Bearer {api_key('predict')}"}
    body = {"action": "right"}
    where = f"/api/v1/predictions/request{1:019d}/check"
    assert client.post(where, body, content_type="application/json", headers=key).status_code == 403


def test_looking_at_the_queue_takes_a_dozen_queries(client_for, reviewer, project, page, django_assert_max_num_queries):
    for number in range(20):
        asked(project, number)
    client = client_for(reviewer)
    client.get(page)
    with django_assert_max_num_queries(16):
        client.get(page)
