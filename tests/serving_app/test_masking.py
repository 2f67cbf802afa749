"""What is written down of a question, by its project's policy."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from serving_app import masking

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh():
    masking.forget_rules()
    yield
    masking.forget_rules()


def row(project, **changes):
    told = {
        "request_id": "r1",
        "project_id": project.pk,
        "input": {"messages": [{"role": "user", "content": "Write to anna@example.com about 4111 1111 1111 1111"}]},
        "question_text": "Write to anna@example.com about 4111 1111 1111 1111",
        "output": "I wrote to Anna@example.com.",
        "params": {"temperature": 0.0, "user": "anna@example.com", "stop": ["anna@example.com"]},
        "error": "",
        "is_masked": False,
    }
    return SimpleNamespace(**told | changes)


def decide(actor, **changes):
    from serving_app.operations.log_policy import set_log_policy

    told = {"keep_days": 90, "masks_personal_data": False, "keeps_texts": True}
    return set_log_policy(actor=actor, **told | changes)


def test_without_a_policy_texts_stay_as_they_are(project) -> None:
    one = row(project)
    masking.made_fit([one])
    assert one.output == "I wrote to Anna@example.com."
    assert not one.is_masked


def test_one_value_gets_one_mark_in_question_answer_and_parameters(actor, project) -> None:
    decide(actor, masks_personal_data=True)
    one = row(project)
    masking.made_fit([one])
    assert one.input == {"messages": [{"role": "user", "content": "Write to [EMAIL_1] about [CARD_1]"}]}
    assert one.question_text == "Write to [EMAIL_1] about [CARD_1]"
    assert one.output == "I wrote to [EMAIL_1]."
    assert one.params == {"temperature": 0.0, "user": "[EMAIL_1]", "stop": ["[EMAIL_1]"]}
    assert one.is_masked


def test_a_plain_prompt_is_masked_as_well(actor, project) -> None:
    decide(actor, masks_personal_data=True)
    one = row(project, input={"prompt": "mail anna@example.com"}, params={})
    masking.made_fit([one])
    assert one.input == {"prompt": "mail [EMAIL_1]"}


def test_kinds_that_the_project_keeps_stay(actor, project) -> None:
    from datasets_app.operations.policy import set_pii_decisions

    set_pii_decisions(actor=actor, decisions={"email": "keep"})
    decide(actor, masks_personal_data=True)
    one = row(project)
    masking.made_fit([one])
    assert one.question_text == "Write to anna@example.com about [CARD_1]"


def test_without_texts_only_figures_are_written(actor, project) -> None:
    decide(actor, keeps_texts=False)
    one = row(project)
    masking.made_fit([one])
    assert (one.input, one.question_text, one.output, one.params) == ({}, "", "", {"temperature": 0.0})


def test_a_row_that_cannot_be_masked_is_written_without_its_texts_and_says_so(actor, project, monkeypatch) -> None:
    decide(actor, masks_personal_data=True)

    def broken(*_args, **_options):
        raise RuntimeError("a text nobody foresaw")

    monkeypatch.setattr(masking, "mask_messages", broken)
    one, other = row(project), row(project, request_id="r2")
    masking.made_fit([one, other])
    assert (one.output, other.output) == ("", "")
    assert one.error == masking.UNWRITTEN
    assert one.is_masked


def test_a_policy_is_asked_for_once_a_second_and_project(actor, project, django_assert_num_queries) -> None:
    decide(actor, masks_personal_data=False)
    with django_assert_num_queries(1):
        masking.made_fit([row(project, request_id=str(number)) for number in range(50)])


def test_a_changed_policy_holds_at_once_here(actor, project) -> None:
    masking.made_fit([row(project)])
    decide(actor, keeps_texts=False)
    one = row(project)
    masking.made_fit([one])
    assert one.output == ""


def test_what_a_person_writes_beside_an_answer_is_masked_the_same(actor, project) -> None:
    decide(actor, masks_personal_data=True)
    assert masking.masked_text(project.pk, "Ask anna@example.com") == "Ask [EMAIL_1]"


@pytest.mark.django_db(transaction=True)
def test_what_is_asked_through_the_gateway_is_masked_before_it_is_written(ask, deployed_base, actor) -> None:
    from serving_app.gateway.database import prediction_log
    from serving_app.models import Prediction, TrafficBucket

    decide(actor, masks_personal_data=True)
    answer = ask("/predict", {"text": "Write to anna@example.com"})  # no model server is running
    assert answer.status_code == 503
    assert prediction_log.flush()
    row = Prediction.objects.get()
    assert row.is_masked
    assert "anna@example.com" not in f"{row.input} {row.question_text} {row.params} {row.error}"
    assert row.question_text == "Write to [EMAIL_1]"
    assert TrafficBucket.objects.get().failed == 1


def test_the_callers_names_and_the_error_are_masked_as_well(actor, project) -> None:
    decide(actor, masks_personal_data=True)
    told = {"end_user": "anna@example.com", "client_request_id": "for anna@example.com", "seed": 4111111111111111}
    one = row(project, params=told, error="There is no model anna@example.com.")
    masking.made_fit([one])
    assert one.params == {"end_user": "[EMAIL_1]", "client_request_id": "for [EMAIL_1]", "seed": 4111111111111111}
    assert one.error == "There is no model [EMAIL_1]."


def test_a_masked_error_still_fits_its_column(actor, project) -> None:
    decide(actor, masks_personal_data=True)
    one = row(project, error=("a@b.de " * 50)[:300])
    masking.made_fit([one])
    assert len(one.error) <= 300


def test_without_texts_no_parameter_and_no_error_holds_one(actor, project) -> None:
    decide(actor, keeps_texts=False)
    one = row(project, params={"temperature": 0.0, "end_user": "anna@example.com"}, error="What is “Anna”?")
    masking.made_fit([one])
    assert (one.params, one.error) == ({"temperature": 0.0}, "")


def test_an_error_that_could_not_be_masked_is_not_written(actor, project, monkeypatch) -> None:
    decide(actor, masks_personal_data=True)
    monkeypatch.setattr(masking, "mask_messages", lambda *_given, **_more: 1 / 0)
    one = row(project, error="There is no model anna@example.com.")
    masking.made_fit([one])
    assert one.error == masking.UNWRITTEN
