"""Corrections become rows and cases, and are taken back."""

# ruff: noqa: F401, F811  # fixtures are imported
from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied

from accounts_app.permissions import project_for
from finetune_engine.errors import UserError
from tests.serving_app.complaints import (
    QUESTION,
    clauses,
    complaint,
    dataset_from,
    first,
    freeze,
    in_use,
    judged,
    line_of,
    quick_jobs,
    stage_of,
    upload_of,
    version,
)

pytestmark = pytest.mark.django_db


def test_a_correction_waits_in_the_data_of_the_model_with_the_whole_conversation(
    actor,
    complaint,
    clauses,
    quick_jobs,
) -> None:
    from datasets_app.models import Dataset, Example
    from datasets_app.queries.rows import full_rows
    from serving_app.operations.proposals import propose_corrections

    given = complaint(reasons=["wrong"], comment="See clause 4.")
    done = propose_corrections(actor=actor, feedback=[given])
    quick_jobs()
    assert (done.added, done.known, done.datasets) == (1, 0, [clauses])
    dataset = Dataset.objects.get(pk=clauses.pk)
    row = Example.objects.filter(dataset=dataset, import_attempt=dataset.visible_attempt).order_by("-row")[0]
    assert row.status == "needs_review"
    told = full_rows(dataset, [row])[0].text
    assert [message["content"] for message in told.messages] == ["Be brief.", QUESTION, "Termination"]
    assert told.metadata["feedback"] == given.pk
    provenance = told.metadata["provenance"]
    assert provenance.startswith("Feedback of Olga Owner on an answer of “V1” of 20")
    assert provenance.endswith("Wrong. “See clause 4.”")


def test_proposed_twice_it_is_there_once(actor, complaint, quick_jobs) -> None:
    from serving_app.operations.proposals import propose_corrections

    given = complaint()
    propose_corrections(actor=actor, feedback=[given])
    quick_jobs()
    again = propose_corrections(actor=actor, feedback=[given])
    assert (again.added, again.known) == (0, 1)
    assert stage_of(given) == "proposed"


def test_what_was_proposed_together_is_withdrawn_together(actor, complaint, clauses, quick_jobs) -> None:
    from datasets_app.models import Dataset
    from serving_app.operations.proposals import propose_corrections, withdraw_proposal

    both = [complaint(), complaint("Who pays the heating?", "Payment terms")]
    before = Dataset.objects.get(pk=clauses.pk).total
    propose_corrections(actor=actor, feedback=both)
    quick_jobs()
    assert Dataset.objects.get(pk=clauses.pk).total == before + 2
    both[0].refresh_from_db()
    assert withdraw_proposal(actor=actor, feedback=both[0]) == 2
    quick_jobs()
    assert Dataset.objects.get(pk=clauses.pk).total == before
    assert [stage_of(one) for one in both] == ["corrected", "corrected"]


def test_a_complaint_becomes_a_case_once_and_can_be_dropped(actor, complaint, project) -> None:
    from evaluation_app.models import RegressionCase
    from serving_app.operations.proposals import drop_case_of, keep_as_cases

    one, same = complaint(comment="Clause 4 says so."), complaint()
    assert keep_as_cases(actor=actor, feedback=[one]) == 1
    assert keep_as_cases(actor=actor, feedback=[one, same]) == 0
    case = RegressionCase.objects.get()
    assert (case.expected, case.note) == ("Termination", "Clause 4 says so.")
    assert case.origin == {"kind": "feedback", "id": one.pk}
    assert [message["role"] for message in case.messages] == ["system", "user"]
    for given in (one, same):
        given.refresh_from_db()
        assert given.regression_case == case
    drop_case_of(actor=actor, feedback=one)
    case.refresh_from_db()
    assert case.removed_at is not None


def test_without_a_correction_there_is_nothing_to_learn(actor, complaint) -> None:
    from serving_app.operations.proposals import keep_as_cases, propose_corrections

    for act in (propose_corrections, keep_as_cases):
        with pytest.raises(UserError) as refused:
            act(actor=actor, feedback=[complaint(correction="")])
        assert refused.value.code == "nothing_to_propose"


def test_an_answer_of_a_base_model_asks_for_the_dataset(actor, complaint, clauses, quick_jobs) -> None:
    from serving_app.models import Feedback
    from serving_app.operations.proposals import propose_corrections

    given = complaint()
    Feedback.objects.filter(pk=given.pk).update(deployment=None)
    given.refresh_from_db()
    with pytest.raises(UserError) as refused:
        propose_corrections(actor=actor, feedback=[given])
    assert refused.value.field == "dataset"
    assert propose_corrections(actor=actor, feedback=[given], dataset=clauses).added == 1


def test_a_reviewer_may_keep_a_case_but_not_change_the_data(actor, complaint, reviewer, project) -> None:
    from serving_app.operations.proposals import keep_as_cases, propose_corrections

    rita = project_for(reviewer, project.slug, "view")
    given = complaint()
    with pytest.raises(PermissionDenied):
        propose_corrections(actor=rita, feedback=[given])
    assert keep_as_cases(actor=rita, feedback=[given]) == 1


def test_a_verdict_that_led_to_a_row_is_not_taken_back_alone(actor, complaint, quick_jobs) -> None:
    from serving_app.operations.feedback import take_feedback_back
    from serving_app.operations.proposals import propose_corrections

    given = complaint()
    propose_corrections(actor=actor, feedback=[given])
    given.refresh_from_db()
    with pytest.raises(UserError) as refused:
        take_feedback_back(actor=actor, feedback=given)
    assert refused.value.status == 409


def test_a_case_that_two_complaints_share_is_dropped_for_both(actor, complaint) -> None:
    from serving_app.operations.proposals import drop_case_of, keep_as_cases

    one, same = complaint(), complaint()
    keep_as_cases(actor=actor, feedback=[one, same])
    one.refresh_from_db()
    drop_case_of(actor=actor, feedback=one)
    same.refresh_from_db()
    assert same.regression_case is None


def test_a_case_that_was_removed_among_the_cases_no_longer_holds_the_verdict(actor, complaint) -> None:
    from evaluation_app.models import RegressionCase
    from evaluation_app.operations.regressions import remove_case
    from serving_app.models import Feedback
    from serving_app.operations.feedback import take_feedback_back
    from serving_app.operations.proposals import keep_as_cases
    from serving_app.queries.improvement import new_complaints

    given = complaint()
    keep_as_cases(actor=actor, feedback=[given])
    remove_case(actor=actor, case=RegressionCase.objects.get())
    given = Feedback.objects.get(pk=given.pk)
    assert not line_of(given).is_case
    assert new_complaints(actor.project) == 1
    take_feedback_back(actor=actor, feedback=given)
    assert not Feedback.objects.exists()


def test_a_correction_waits_in_one_dataset_at_a_time(actor, complaint, clauses, dataset_from, quick_jobs) -> None:
    from serving_app.operations.proposals import propose_corrections

    given = complaint()
    propose_corrections(actor=actor, feedback=[given])
    quick_jobs()
    line = {"messages": [{"role": "user", "content": "Who pays?"}, {"role": "assistant", "content": "Payment"}]}
    other = dataset_from("others.jsonl", [line])
    with pytest.raises(UserError) as refused:
        propose_corrections(actor=actor, feedback=[given], dataset=other)
    assert refused.value.code == "already_proposed"
    given.refresh_from_db()
    assert given.dataset == clauses


def test_what_was_said_meanwhile_decides_and_not_what_the_page_showed(actor, complaint) -> None:
    from serving_app.models import Feedback
    from serving_app.operations.proposals import propose_corrections

    shown = complaint()
    Feedback.objects.filter(pk=shown.pk).update(verdict="good")
    with pytest.raises(UserError) as refused:
        propose_corrections(actor=actor, feedback=[shown])
    assert refused.value.code == "nothing_to_propose"
