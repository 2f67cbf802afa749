"""What people say about rows, and the counters that follow."""

from __future__ import annotations

import pytest

from datasets_app import operations, queries
from datasets_app.models import Dataset, Example
from datasets_app.operations.decisions import checked_messages
from finetune_engine.errors import UserError


def row(dataset, number):
    return Example.objects.get(dataset=dataset, row=number)


def sums_up(dataset):
    dataset = Dataset.objects.get(pk=dataset.pk)
    rows = Example.objects.filter(dataset=dataset)
    for status in ("accepted", "flagged", "needs_review", "rejected"):
        assert getattr(dataset, status) == rows.filter(status=status).count(), status
    return dataset


def test_accepting_and_rejecting_move_the_counters(actor, clauses):
    before = clauses.usable
    operations.decide_example(actor=actor, dataset=clauses, example=row(clauses, 1), action="reject")
    operations.decide_example(actor=actor, dataset=clauses, example=row(clauses, 61), action="accept")
    after = sums_up(clauses)
    assert after.usable == before
    assert row(clauses, 61).decision == "accept"


def test_deciding_twice_counts_once(actor, clauses):
    stale = row(clauses, 1)
    operations.decide_example(actor=actor, dataset=clauses, example=row(clauses, 1), action="reject")
    operations.decide_example(actor=actor, dataset=clauses, example=stale, action="reject")
    assert sums_up(clauses).rejected == 3


def test_undo_goes_back_to_what_the_checks_said(actor, clauses):
    operations.edit_example(actor=actor, dataset=clauses, example=row(clauses, 62), answer="Payment")
    assert sums_up(clauses).rejected == 1
    operations.undo_decision(actor=actor, dataset=clauses, example=row(clauses, 62))
    undone = row(clauses, 62)
    assert (undone.status, undone.decision, undone.edited_messages) == ("rejected", "", None)
    assert sums_up(clauses).rejected == 2


def test_a_row_without_an_answer_cannot_be_accepted_only_edited(actor, clauses):
    with pytest.raises(UserError, match="Edit it first"):
        operations.decide_example(actor=actor, dataset=clauses, example=row(clauses, 62), action="accept")
    operations.edit_example(actor=actor, dataset=clauses, example=row(clauses, 62), answer="Payment")
    edited = row(clauses, 62)
    assert edited.edited_label == "Payment"
    assert edited.edited_messages[-1] == {"role": "assistant", "content": "Payment"}
    assert edited.edited_messages[0]["content"] == "A clause that nobody has labelled yet."


def test_all_rows_of_a_finding_are_decided_at_once_but_not_those_already_decided(actor, dataset_from):
    line = {"text": "The very same clause about the very same thing.", "label": "x"}
    others = [{"text": f"Another clause, number {i}, on topic {i * 31}.", "label": "y"} for i in range(10)]
    dataset = dataset_from("doubles.jsonl", [*others, line, line, line, line])
    assert dataset.codes["duplicate_exact"] == 3
    operations.decide_example(actor=actor, dataset=dataset, example=row(dataset, 14), action="reject")
    moved = operations.decide_finding(actor=actor, dataset=dataset, code="duplicate_exact", action="accept")
    assert moved == 2
    assert row(dataset, 14).status == "rejected"
    assert sums_up(dataset).rejected == 1
    assert operations.decide_finding(actor=actor, dataset=dataset, code="duplicate_exact", action="accept") == 0


def test_a_filter_by_finding_status_and_text_gives_exactly_those_rows(clauses):
    filters = queries.RowFilters.checked(code="empty_answer")
    assert [e.row for e in queries.example_rows(clauses, 0, filters).items] == [62]
    filters = queries.RowFilters.checked(status="accepted", q="clause 1:")
    assert [e.row for e in queries.example_rows(clauses, 0, filters).items] == [2]
    filters = queries.RowFilters.checked(code="empty_answer", status="accepted")
    assert queries.example_rows(clauses, 0, filters).items == []


def test_pages_follow_each_other_without_gap_or_double(clauses):
    seen, cursor = [], 0
    while cursor is not None:
        page = queries.example_rows(clauses, cursor, limit=25)
        seen += [e.row for e in page.items]
        cursor = page.next_cursor
    assert seen == list(range(1, 63))


def test_a_search_looks_at_a_window_and_says_how_far_it_got(clauses, monkeypatch):
    from datasets_app.queries import rows

    monkeypatch.setattr(rows, "SEARCH_WINDOW", 20)
    page = queries.example_rows(clauses, 0, queries.RowFilters(q="Clause 50:"))
    assert (page.items, page.next_cursor, page.searched_to) == ([], 20, 20)
    page = queries.example_rows(clauses, 40, queries.RowFilters(q="Clause 50:"))
    assert [e.row for e in page.items] == [51]


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [],
        ["text"],
        [{"role": "wizard", "content": "x"}],
        [{"role": "user", "content": 7}],
        [{"role": "user", "content": "only a question"}],
        [{"role": "user", "content": " "}, {"role": "assistant", "content": "a"}],
        [{"role": "user", "content": "q"}, {"role": "assistant", "content": "\n"}],
        [{"role": "user", "content": "q" * 200_001}, {"role": "assistant", "content": "a"}],
    ],
)
def test_messages_that_cannot_be_trained_on_are_refused(messages):
    with pytest.raises(UserError):
        checked_messages(messages)


def test_what_no_database_stores_becomes_a_visible_mark():
    call = {"function": {"name": "look\0up", "arguments": "{}"}}
    messages = [{"role": "user", "content": "a\0b\ud800"}, {"role": "assistant", "content": "c", "tool_calls": [call]}]
    clean = checked_messages(messages)
    assert clean[0]["content"] == "a␀b?"
    assert clean[1]["tool_calls"][0]["function"]["name"] == "look␀up"


def test_tool_calls_nested_beyond_reason_are_refused():
    deep: list = []
    for _ in range(500):
        deep = [deep]
    with pytest.raises(UserError, match="too deeply"):
        checked_messages([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "tool_calls": deep}])


def test_a_plain_text_can_be_edited_without_an_input(actor, dataset_from):
    texts = dataset_from("deeds.jsonl", [{"text": f"The deed number {n} was signed in the office."} for n in range(9)])
    said = "The deed was signed at noon."
    edited = operations.edit_example(actor=actor, dataset=texts, example=row(texts, 1), answer=said)
    assert (texts.format, edited.status, edited.edited_messages[-1]["content"]) == ("text", "accepted", said)
