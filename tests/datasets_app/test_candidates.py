"""Rows that people propose wait in the review queue, with their provenance, and enter no snapshot unaccepted."""

from __future__ import annotations

import pytest
from django.core.files.storage import default_storage

from datasets_app import operations
from datasets_app.models import Dataset, Example, Finding, Source, Upload
from datasets_app.operations import ProposedRow, propose_rows, withdraw_rows
from datasets_app.queries.rows import full_rows
from finetune_engine.errors import UserError

ORIGIN = {"kind": "review", "id": "01review", "evaluation": "01evaluation"}


def proposed(question: str, answer: str = "Termination", **more) -> ProposedRow:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    told = "Rita Reviewer corrected the answer to row 12 in the review “First look”."
    return ProposedRow(messages=messages, provenance=told, metadata={"review": "01review", "row": 12}, **more)


def fresh(dataset: Dataset) -> Dataset:
    return Dataset.objects.select_related("upload", "job", "project").get(pk=dataset.pk)


def rows_of(dataset: Dataset) -> list[Example]:
    dataset = fresh(dataset)
    return list(Example.objects.filter(dataset=dataset, import_attempt=dataset.visible_attempt).order_by("row"))


@pytest.fixture
def propose(actor, clauses, quick_jobs):
    def make(*rows, origin=ORIGIN, dataset=clauses):
        proposal = propose_rows(actor=actor, dataset=dataset, rows=rows, origin=origin)
        quick_jobs()
        return proposal

    return make


NEW = "The tenant may end the lease on the last day of each quarter with notice in writing of six weeks."


def test_a_proposed_row_waits_in_the_queue_whatever_the_checks_think_of_it(clauses, propose):
    before = fresh(clauses).counts
    propose(proposed(NEW))
    row = rows_of(clauses)[-1]
    assert (row.row, row.status, row.checked_status) == (63, "needs_review", "needs_review")
    assert fresh(clauses).counts == before | {"total": 63, "needs_review": before["needs_review"] + 1}


def test_the_card_says_who_proposed_it_and_why(clauses, propose):
    propose(proposed(NEW))
    dataset = fresh(clauses)
    finding = Finding.objects.get(dataset=dataset, import_attempt=dataset.visible_attempt, code="proposed")
    assert "Rita Reviewer corrected the answer to row 12 in the review “First look”." in finding.message
    row = full_rows(dataset, rows_of(dataset)[-1:])[0]
    assert row.text.metadata["review"] == "01review"
    assert row.text.metadata["provenance"].startswith("Rita Reviewer")
    assert row.text.messages[-1]["content"] == "Termination"


def test_it_stays_out_of_a_snapshot_until_somebody_accepts_it(clauses, propose, freeze, actor):
    usable = fresh(clauses).usable
    propose(proposed(NEW))
    assert freeze(fresh(clauses)).total == usable
    dataset = fresh(clauses)
    operations.decide_example(actor=actor, dataset=dataset, example=rows_of(dataset)[-1], action="accept")
    assert freeze(fresh(clauses)).total == usable + 1


def test_it_still_waits_after_the_dataset_was_checked_again_and_read_in_another_way(
    clauses, propose, actor, quick_jobs
):
    propose(proposed(NEW))
    number = Source.objects.exclude(origin={}).get(dataset=clauses).number
    readings = {number: {"format": "messages", "mapping": None}}
    operations.recheck_dataset(actor=actor, dataset=fresh(clauses), readings=readings)
    quick_jobs()
    assert rows_of(clauses)[-1].status == "needs_review"
    assert "proposed" in rows_of(clauses)[-1].codes


def test_the_same_row_is_not_added_twice(clauses, propose):
    first = propose(proposed(NEW))
    again = propose(proposed(NEW), origin={"kind": "feedback", "id": "7"})
    assert (first.added, first.known, again.added, again.known, again.job) == (1, 0, 0, 1, None)
    assert len(rows_of(clauses)) == 63
    assert Source.objects.filter(dataset=clauses).count() == 2


def test_the_same_row_is_not_added_twice_whatever_answer_it_replaces(propose):
    assert propose(proposed(NEW, worse="Never.")).added == 1
    again = propose(proposed(NEW, worse="Always."), origin=ORIGIN | {"id": "02review"})
    assert (again.added, again.known) == (0, 1)


def test_a_row_that_is_not_accepted_changes_no_other_row(clauses, propose):
    """The same question with another answer is a contradiction: of the proposal, not of the row that was there."""
    before = {row.row: row.status for row in rows_of(clauses)}
    question = full_rows(fresh(clauses), rows_of(clauses)[:1])[0].prompt
    propose(proposed(question, "Payment"))
    after = {row.row: row.status for row in rows_of(clauses)}
    assert {row: after[row] for row in before} == before
    assert "contradiction" in rows_of(clauses)[-1].codes


def test_it_can_be_taken_out_again_and_proposed_anew(clauses, propose, actor, quick_jobs):
    source = propose(proposed(NEW)).source
    withdraw_rows(actor=actor, dataset=fresh(clauses), source=Source.objects.get(pk=source.pk))
    quick_jobs()
    assert len(rows_of(clauses)) == 62
    assert propose(proposed(NEW)).added == 1
    assert rows_of(clauses)[-1].status == "needs_review"


def test_a_file_that_somebody_uploaded_is_not_taken_out_as_a_proposal(clauses, actor):
    with pytest.raises(UserError) as refused:
        withdraw_rows(actor=actor, dataset=clauses, source=Source.objects.get(dataset=clauses))
    assert refused.value.code == "not_proposed"


def test_while_the_dataset_is_checked_nothing_is_left_lying_about(clauses, actor):
    operations.recheck_dataset(actor=actor, dataset=clauses)
    uploads = Upload.objects.count()
    files = set(default_storage.listdir(f"uploads/{actor.project.pk}")[1])
    with pytest.raises(UserError) as refused:
        propose_rows(actor=actor, dataset=fresh(clauses), rows=[proposed(NEW)], origin=ORIGIN)
    assert refused.value.code == "being_checked"
    assert Upload.objects.count() == uploads
    assert set(default_storage.listdir(f"uploads/{actor.project.pk}")[1]) == files


@pytest.mark.parametrize(("row", "code"), [(proposed(NEW, " "), "empty_answer"), (proposed(" "), "empty_input")])
def test_a_row_that_teaches_nothing_is_refused(clauses, actor, row, code):
    with pytest.raises(UserError) as refused:
        propose_rows(actor=actor, dataset=clauses, rows=[row], origin=ORIGIN)
    assert refused.value.code == code


def test_a_dataset_of_preferences_gets_pairs(dataset_from, propose):
    rows = [
        {"prompt": f"Explain clause {i} of the contract, please.", "chosen": f"It binds both parties for {i} years.",
         "rejected": f"No idea about number {i}, ask somebody."} for i in range(12)
    ]  # fmt: skip
    dataset = dataset_from("pairs.jsonl", rows)
    propose(proposed(NEW, "Six weeks before the end of a quarter.", worse="Never."), dataset=dataset)
    row = full_rows(fresh(dataset), rows_of(dataset)[-1:])[0]
    assert (row.answer, row.text.rejected[-1]["content"]) == ("Six weeks before the end of a quarter.", "Never.")
    assert row.example.status == "needs_review"
    with pytest.raises(UserError) as refused:
        propose(proposed(NEW, "Another answer."), dataset=fresh(dataset))
    assert refused.value.code == "no_worse_answer"
