"""What people think of answers is kept with a copy of them, counts, and can be taken back."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from accounts_app.permissions import project_for
from finetune_engine.errors import UserError

pytestmark = pytest.mark.django_db


@pytest.fixture
def answered(project):
    """``answered("Who pays?", "The tenant")``: an answer in the log."""
    from serving_app.models import Prediction
    from web_kit.ids import new_id

    def make(question="Who pays?", answer="The tenant", **more):
        values = {
            "request_id": new_id(),
            "project": project,
            "door": "chat",
            "model_name": "demo-base",
            "input": {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]},
            "output": answer,
            "latency_seconds": 0.1,
            "at": timezone.now(),
        }
        return Prediction.objects.create(**values | more)

    return make


@pytest.fixture
def judge(actor):
    from serving_app.operations import give_feedback

    def give(prediction, verdict="bad", *, by=actor, **said):
        return give_feedback(actor=by, prediction=prediction, verdict=verdict, **said)

    return give


def test_question_and_answer_are_copied_so_that_the_log_may_forget_them(answered, judge) -> None:
    prediction = answered()
    given = judge(prediction, reasons=["made_up", "wrong"], comment="Look at clause 4.", correction=" The landlord\n")
    prediction.delete()
    given.refresh_from_db()
    assert given.prediction is None
    assert [message["role"] for message in given.messages] == ["system", "user"]
    assert (given.answer, given.correction) == ("The tenant", "The landlord")
    assert given.reasons == ["wrong", "made_up"]
    assert given.comment == "Look at clause 4."


def test_the_newest_verdict_counts_and_stands_with_the_answer(answered, judge, reviewer, project) -> None:
    from serving_app.models import Feedback

    prediction = answered()
    judge(prediction, correction="The landlord")
    judge(prediction, "good", by=project_for(reviewer, project.slug, "view"))
    prediction.refresh_from_db()
    assert (prediction.verdict, prediction.correction, prediction.feedback_by) == ("good", "", reviewer)
    assert [(one.verdict, one.by_user) for one in Feedback.objects.all()] == [("good", reviewer)]


def test_a_verdict_is_taken_back(answered, judge, actor) -> None:
    from serving_app.models import Feedback
    from serving_app.operations.feedback import take_feedback_back

    prediction = answered()
    take_feedback_back(actor=actor, feedback=judge(prediction))
    prediction.refresh_from_db()
    assert (prediction.verdict, prediction.feedback_at) == ("", None)
    assert not Feedback.objects.exists()


def test_every_verdict_stands_in_the_audit_trail(answered, judge, actor) -> None:
    from accounts_app.models import AuditEntry
    from serving_app.operations.feedback import take_feedback_back

    prediction = answered()
    take_feedback_back(actor=actor, feedback=judge(prediction, correction="No"))
    acts = AuditEntry.objects.filter(subject=f"prediction {prediction.request_id}").order_by("id")
    assert list(acts.values_list("act", flat=True)) == ["prediction.feedback", "prediction.take_feedback_back"]


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"verdict": "meh"}, "verdict"),
        ({"verdict": "bad", "reasons": ["ugly"]}, "reasons"),
        ({"verdict": "bad", "correction": "x" * 100_001}, "correction"),
        ({"verdict": "bad", "comment": "x" * 1_001}, "comment"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_field(answered, judge, said, field) -> None:
    with pytest.raises(UserError) as refused:
        judge(answered(), **said)
    assert refused.value.field == field


def test_a_question_without_an_answer_cannot_be_judged(answered, judge) -> None:
    with pytest.raises(UserError) as refused:
        judge(answered(status=503, answer=""))
    assert refused.value.status == 409


def test_a_viewer_has_no_verdict(answered, judge, viewer, project) -> None:
    with pytest.raises(PermissionDenied):
        judge(answered(), by=project_for(viewer, project.slug, "view"))


def test_a_bad_verdict_makes_the_caches_forget_the_answer(
    answered, judge, monkeypatch, django_capture_on_commit_callbacks
) -> None:
    from serving_app.operations import feedback as operations

    forgotten = []
    monkeypatch.setattr(operations, "forget_answer", lambda *, request_id: forgotten.append(request_id))
    liked, disliked = answered(), answered()
    with django_capture_on_commit_callbacks(execute=True):
        judge(liked, "good")
        judge(disliked)
    assert forgotten == [disliked.request_id]


def test_a_program_gives_reads_and_takes_back_feedback(client, answered, api_key) -> None:
    prediction = answered()
    url = f"/api/v1/predictions/{prediction.request_id}/feedback"
    key = {"Authorization": f"Bearer {api_key('predict', 'read')}"}
    said = {"verdict": "bad", "reasons": ["outdated"], "comment": "New law.", "correction": "Three weeks"}
    given = client.post(url, said, content_type="application/json", headers=key).json()
    assert {name: given[name] for name in said} == said
    listed = client.get("/api/v1/feedback?verdict=bad", headers=key).json()
    assert [one["id"] for one in listed["data"]] == [given["id"]]
    assert listed["next_cursor"] is None
    assert client.get(f"/api/v1/feedback/{given['id']}", headers=key).json()["answer"] == "The tenant"
    assert client.delete(url, headers=key).status_code == 204
    assert client.get("/api/v1/feedback", headers=key).json()["data"] == []


def test_feedback_that_comes_before_the_log_is_written_waits_for_it(client, answered, api_key, monkeypatch) -> None:
    from serving_app.models import Prediction
    from serving_app.queries import feedback

    prediction, looks = answered(), []
    Prediction.objects.all().delete()

    def write_late(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            Prediction.objects.bulk_create([prediction])

    monkeypatch.setattr(feedback, "time", SimpleNamespace(sleep=write_late, time=time.time, monotonic=lambda: 0.0))
    key = {"Authorization": f"Bearer {api_key('predict')}"}
    url = f"/api/v1/predictions/{prediction.request_id}/feedback"
    response = client.post(url, {"verdict": "good"}, content_type="application/json", headers=key)
    assert (response.status_code, response.json()["verdict"]) == (200, "good")
    assert len(looks) == 3


def test_the_answer_itself_is_no_correction(client, answered, api_key) -> None:
    from serving_app.models import Feedback

    prediction = answered()
    key = {"Authorization": f"Bearer {api_key('predict')}"}
    body = {"verdict": "bad", "correction": f" {prediction.output}\n"}
    url = f"/api/v1/predictions/{prediction.request_id}/feedback"
    response = client.post(url, body, content_type="application/json", headers=key)
    assert (response.status_code, response.json()["error"]["param"]) == (422, "correction")
    assert "what the model answered" in response.json()["error"]["message"]
    assert not Feedback.objects.exists()


def test_an_unknown_answer_is_404_with_a_sentence_and_at_once(client, project, api_key) -> None:
    key = {"Authorization": f"Bearer {api_key('predict')}"}
    began = time.monotonic()
    url = f"/api/v1/predictions/{'0' * 26}/feedback"
    response = client.post(url, {"verdict": "good"}, content_type="application/json", headers=key)
    assert response.status_code == 404
    assert "no answer with this request id" in response.json()["error"]["message"]
    assert time.monotonic() - began < 1


def test_a_script_gets_the_sentence_as_json(client_for, reviewer, project, answered) -> None:
    url = f"/p/{project.slug}/use/predictions/{answered().request_id}/feedback"
    said = {"verdict": "bad", "reason": ["wrong", "tone"], "correction": "The landlord"}
    body = client_for(reviewer).post(url, said, headers={"Accept": "application/json"}).json()
    assert (body["verdict"], body["corrected"]) == ("bad", True)
    assert "page Improve" in body["sentence"]


def test_after_a_bare_thumb_down_the_page_asks_what_would_have_been_right(
    client_for, reviewer, project, answered
) -> None:
    prediction = answered()
    url = f"/p/{project.slug}/use/predictions/{prediction.request_id}/feedback"
    response = client_for(reviewer).post(url, {"verdict": "bad"})
    assert response.url == f"/p/{project.slug}/use/predictions/{prediction.request_id}#feedback"
    page = client_for(reviewer).get(response.url).content.decode()
    assert "What it should have answered" in page


def test_the_way_back_leads_only_into_this_site(client_for, reviewer, project, answered) -> None:
    url = f"/p/{project.slug}/use/predictions/{answered().request_id}/feedback"
    away = client_for(reviewer).post(url, {"verdict": "good", "next": "https://evil.example/"})
    assert away.url == f"/p/{project.slug}/use/predictions"
    here = client_for(reviewer).post(url, {"verdict": "good", "next": f"/p/{project.slug}/use/improve"})
    assert here.url == f"/p/{project.slug}/use/improve"


def test_what_people_wrote_is_never_markup(client_for, reviewer, project, answered, judge) -> None:
    prediction = answered(answer="<script>alert(1)</script>")
    judge(prediction, comment="<b>no</b>", correction="<i>yes</i>")
    for path in (f"predictions/{prediction.request_id}", "improve"):
        page = client_for(reviewer).get(f"/p/{project.slug}/use/{path}").content.decode()
        assert "<script>alert" not in page
        assert "<b>no" not in page
        assert "<i>yes" not in page


@pytest.fixture
def policy(actor):
    from serving_app import masking
    from serving_app.operations.log_policy import set_log_policy

    yield lambda **told: set_log_policy(
        actor=actor, **{"keep_days": 90, "masks_personal_data": False, "keeps_texts": True} | told
    )
    masking.forget_rules()


def test_what_people_write_is_masked_as_the_log_is(answered, judge, policy) -> None:
    policy(masks_personal_data=True)
    prediction = answered()
    given = judge(prediction, correction="Ask anna@example.com", comment="anna@example.com knows")
    given.refresh_from_db()
    assert (given.correction, given.comment) == ("Ask [EMAIL_1]", "[EMAIL_1] knows")
    assert prediction.correction == "Ask [EMAIL_1]"


def test_a_correction_is_refused_where_no_texts_are_kept_and_a_verdict_is_not(answered, judge, policy) -> None:
    policy(keeps_texts=False)
    with pytest.raises(UserError) as refused:
        judge(answered(), correction="The landlord")
    assert refused.value.field == "correction"
    assert judge(answered()).verdict == "bad"


def test_an_answer_logged_before_masking_is_masked_in_the_copy(answered, judge, policy) -> None:
    prediction = answered("Is it anna@example.com or bob@example.com?", "anna@example.com")
    policy(masks_personal_data=True)
    given = judge(prediction, correction="bob@example.com")
    assert given.messages[-1]["content"] == "Is it [EMAIL_1] or [EMAIL_2]?"
    assert (given.answer, given.correction) == ("[EMAIL_1]", "[EMAIL_2]")


def test_an_answer_logged_before_texts_were_no_longer_kept_is_not_copied(answered, judge, policy) -> None:
    prediction = answered()
    policy(keeps_texts=False)
    given = judge(prediction)
    assert (given.messages, given.answer) == ([], "")


def test_what_no_database_stores_becomes_a_visible_mark(answered, judge) -> None:
    given = judge(answered(), correction="The\0landlord", comment="half \ud800")
    assert (given.correction, given.comment) == ("The␀landlord", "half ?")
