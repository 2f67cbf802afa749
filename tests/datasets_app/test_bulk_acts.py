"""One decision for many rows, and taking it back in one go."""

from __future__ import annotations

import pytest

from accounts_app.models import AuditEntry
from benchmarks.made_rows import MadeFinding, MadeRow, made_dataset
from datasets_app import operations
from datasets_app.models import BulkAct, Dataset, Example, ReviewTally
from datasets_app.operations import bulk_acts
from datasets_app.queries.rows import RowFilters
from finetune_engine.errors import UserError

REPEATED = MadeFinding("repetition", "Row says the same over and over.")


def made(actor, count=30, **more):
    """``count`` rows; every third waits for review because it repeats itself, every fifth is labelled B."""
    rows = [
        MadeRow(
            f"Question {n}", f"Answer {n}", label="B" if n % 5 == 0 else "A",
            status="needs_review" if n % 3 == 0 else "accepted", findings=[REPEATED] if n % 3 == 0 else [],
        )
        for n in range(1, count + 1)
    ]  # fmt: skip
    return made_dataset(actor.project, actor.user, [*rows, *more.get("then", [])])


def row(dataset, number):
    return Example.objects.get(dataset=dataset, row=number)


def sums_up(dataset):
    dataset.refresh_from_db()
    for status in ("accepted", "flagged", "needs_review", "rejected"):
        assert getattr(dataset, status) == Example.objects.filter(dataset=dataset, status=status).count(), status


def test_all_rows_with_a_finding_are_accepted_and_point_to_the_act(actor):
    dataset = made(actor)
    bulk = operations.decide_rows(actor=actor, dataset=dataset, filters=RowFilters(code="repetition"), action="accept")
    assert (bulk.rows, bulk.reached_row, bulk.undone_at) == (10, None, None)
    assert Example.objects.filter(bulk_act=bulk, decision="accept", status="accepted").count() == 10
    sums_up(dataset)
    assert dataset.needs_review == 0


def test_filters_are_taken_together(actor):
    dataset = made(actor)
    filters = RowFilters(code="repetition", label="B", q="question 1")
    bulk = operations.decide_rows(actor=actor, dataset=dataset, filters=filters, action="reject")
    assert list(Example.objects.filter(bulk_act=bulk).values_list("row", flat=True)) == [15]


def test_undoing_puts_every_row_back_to_what_the_checks_said(actor):
    dataset = made(actor)
    bulk = operations.decide_rows(
        actor=actor, dataset=dataset, filters=RowFilters(status="needs_review"), action="reject"
    )
    assert operations.undo_bulk(actor=actor, bulk=bulk) == 10
    sums_up(dataset)
    assert (dataset.needs_review, dataset.rejected) == (10, 0)
    assert not Example.objects.exclude(decision="").exists()
    assert sum(t.settled for t in ReviewTally.objects.all()) == 0


def test_a_row_that_a_person_decided_on_since_stays_as_it_is(actor):
    dataset = made(actor)
    bulk = operations.decide_rows(actor=actor, dataset=dataset, filters=RowFilters(code="repetition"), action="accept")
    operations.decide_example(actor=actor, dataset=dataset, example=row(dataset, 3), action="reject")
    assert operations.undo_bulk(actor=actor, bulk=bulk) == 9
    bulk.refresh_from_db()
    assert bulk.rows == 1, "what stays"
    assert (row(dataset, 3).status, row(dataset, 3).decision) == ("rejected", "reject")
    sums_up(dataset)


def test_rows_decided_before_are_left_alone(actor):
    dataset = made(actor)
    operations.decide_example(actor=actor, dataset=dataset, example=row(dataset, 3), action="reject")
    bulk = operations.decide_rows(actor=actor, dataset=dataset, filters=RowFilters(code="repetition"), action="accept")
    assert bulk.rows == 9
    assert row(dataset, 3).status == "rejected"


def test_an_act_is_undone_only_once(actor):
    dataset = made(actor)
    bulk = operations.decide_rows(actor=actor, dataset=dataset, filters=RowFilters(code="repetition"), action="accept")
    operations.undo_bulk(actor=actor, bulk=bulk)
    with pytest.raises(UserError, match="already"):
        operations.undo_bulk(actor=actor, bulk=bulk)


def test_a_row_without_an_answer_is_never_accepted(actor):
    unusable = MadeRow("Question", "", status="rejected", findings=[MadeFinding("empty_answer")])
    dataset = made(actor, count=3, then=[unusable])
    bulk = operations.decide_rows(actor=actor, dataset=dataset, filters=RowFilters(status="rejected"), action="accept")
    assert bulk.rows == 0
    assert row(dataset, 4).status == "rejected"


def test_a_rejected_row_with_an_answer_that_no_model_could_learn_is_never_accepted(actor):
    wrong = MadeRow(
        "Question", "Answer", status="rejected",
        messages=[{"role": "wizard", "content": "Question"}, {"role": "assistant", "content": "Answer"}],
    )  # fmt: skip
    dataset = made(actor, count=3, then=[wrong])
    bulk = operations.decide_rows(actor=actor, dataset=dataset, filters=RowFilters(status="rejected"), action="accept")
    assert bulk.rows == 0


def test_a_long_act_stops_in_time_and_goes_on_where_it_stopped(actor, monkeypatch):
    monkeypatch.setattr(bulk_acts, "BATCH", 4)
    dataset = made(actor)
    filters = RowFilters(status="needs_review")
    bulk = operations.decide_rows(actor=actor, dataset=dataset, filters=filters, action="accept", seconds=0)
    assert (bulk.rows, bulk.reached_row) == (4, 12)
    while bulk.reached_row is not None:
        bulk = operations.decide_rows(
            actor=actor, dataset=dataset, filters=filters, action="accept", seconds=0, bulk=bulk
        )
    assert bulk.rows == 10
    sums_up(dataset)


def test_an_act_that_broke_off_is_undone_as_far_as_it_came(actor, monkeypatch):
    monkeypatch.setattr(bulk_acts, "BATCH", 4)
    dataset = made(actor)
    filters = RowFilters(status="needs_review")
    operations.decide_rows(actor=actor, dataset=dataset, filters=filters, action="accept", seconds=0)
    bulk = BulkAct.objects.get()
    assert operations.undo_bulk(actor=actor, bulk=bulk) == 4
    sums_up(dataset)
    assert dataset.needs_review == 10


def test_a_long_undo_stops_in_time_and_goes_on(actor, monkeypatch):
    monkeypatch.setattr(bulk_acts, "BATCH", 4)
    dataset = made(actor)
    bulk = operations.decide_rows(actor=actor, dataset=dataset, filters=RowFilters(code="repetition"), action="accept")
    back = [operations.undo_bulk(actor=actor, bulk=bulk, seconds=0) for _ in range(3)]
    assert back == [4, 4, 2]
    bulk.refresh_from_db()
    assert bulk.undone_at is None, "the last batch was not known to be the last"
    assert operations.undo_bulk(actor=actor, bulk=bulk, seconds=0) == 0
    assert BulkAct.objects.get().undone_at is not None


def test_nobody_else_than_accept_and_reject_is_done_to_many_rows(actor):
    dataset = made(actor, count=3)
    with pytest.raises(UserError, match="accepted or rejected"):
        operations.decide_rows(actor=actor, dataset=dataset, filters=RowFilters(), action="delete")


def test_rows_of_a_dataset_that_was_checked_again_meanwhile_are_left_alone(actor):
    dataset = made(actor)
    Dataset.objects.filter(pk=dataset.pk).update(import_attempt=2)
    with pytest.raises(UserError, match="checked again"):
        operations.decide_rows(actor=actor, dataset=dataset, filters=RowFilters(code="repetition"), action="accept")
    with pytest.raises(UserError, match="checked again"):
        operations.decide_example(actor=actor, dataset=dataset, example=row(dataset, 3), action="accept")
    assert not Example.objects.exclude(decision="").exists()


@pytest.mark.parametrize("filters", [RowFilters(), RowFilters.checked(q="  "), RowFilters.checked(code="\0")])
def test_filters_that_narrow_nothing_never_mean_all_rows(actor, filters):
    dataset = made(actor, count=3)
    with pytest.raises(UserError, match="Say which rows"):
        operations.decide_rows(actor=actor, dataset=dataset, filters=filters, action="reject")
    assert not BulkAct.objects.exists()


def test_an_act_that_broke_off_is_in_the_audit_trail_as_far_as_it_came(actor, monkeypatch):
    monkeypatch.setattr(bulk_acts, "BATCH", 4)
    dataset = made(actor)
    filters = RowFilters(status="needs_review", q="question")
    bulk = operations.decide_rows(actor=actor, dataset=dataset, filters=filters, action="accept", seconds=0)
    operations.undo_bulk(actor=actor, bulk=bulk)
    entries = AuditEntry.objects.filter(act__startswith="rows.").order_by("id")
    assert [(entry.act, entry.data["rows"], entry.data["bulk"]) for entry in entries] == [
        ("rows.accept", 4, bulk.pk),
        ("rows.undo", 4, bulk.pk),
    ]
    assert entries[0].data["filters"] == {"status": "needs_review"}, "what was searched for may be a name"
