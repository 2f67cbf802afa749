"""Rows beside each other: contradictions, near-duplicates, repetitions and spellings of labels."""

from __future__ import annotations

import pytest
from django.urls import reverse

from datasets_app import operations
from datasets_app.models import Dataset, Example
from datasets_app.operations.contradictions import settle_group, undo_group, undo_spelling, use_spelling
from datasets_app.queries.groups import group_at, group_page, repetitions, spelling_variants
from finetune_engine.errors import UserError
from tests.datasets_app.conftest import clause_lines

LONG = "The tenant shall pay the agreed rent for the garage in advance on the first working day of every month {} {}."


@pytest.fixture
def doubtful(dataset_from):
    """Thirty good rows; 31 and 32 contradict; 33 repeats row 5; 34 and 35 say almost the same."""
    rows = clause_lines(30)
    rows += [
        {"text": "Either side may <i>end</i> the lease with a month of notice.", "label": name}
        for name in ("Termination", "Payment")
    ]
    rows += [rows[4]]
    rows += [
        {"text": LONG.format(a, b), "label": "Payment"} for a, b in (("without", "delay"), ("without any", "delay"))
    ]
    return dataset_from("doubtful.jsonl", rows)


def row(dataset, number):
    return Example.objects.get(dataset=dataset, import_attempt=dataset.import_attempt, row=number)


def statuses(dataset, *numbers):
    return [row(dataset, number).status for number in numbers]


def url(project, dataset):
    return reverse("datasets:duplicates", args=[project.slug, dataset.pk])


def test_contradicting_rows_stand_side_by_side_with_their_differences_marked(doubtful):
    group = group_page(doubtful, "contradiction").items[0]
    assert (group.rows, group.is_open) == ([31, 32], True)
    first, second = group.members
    assert not any(side.is_marked for side in first.prompt)
    assert [side.text for side in first.answer if side.is_marked] == ["Termination"]
    assert [side.text for side in second.answer if side.is_marked] == ["Payment"]


def test_keeping_one_answer_rejects_the_others_and_undo_brings_all_back(actor, doubtful):
    assert settle_group(actor=actor, dataset=doubtful, rows=[31, 32], keep={31}) == 2
    assert statuses(doubtful, 31, 32) == ["accepted", "rejected"]
    assert group_page(doubtful, "contradiction").items == []
    assert not group_page(doubtful, "contradiction", with_settled=True).items[0].is_open
    assert undo_group(actor=actor, dataset=doubtful, rows=[31, 32]) == 2
    assert statuses(doubtful, 31, 32) == ["needs_review", "needs_review"]


def test_both_can_be_right(actor, doubtful):
    settle_group(actor=actor, dataset=doubtful, rows=[31, 32], keep={31, 32})
    assert statuses(doubtful, 31, 32) == ["accepted", "accepted"]


def test_saying_the_same_twice_is_one_act(actor, doubtful):
    settle_group(actor=actor, dataset=doubtful, rows=[31, 32], keep={31})
    assert settle_group(actor=actor, dataset=doubtful, rows=[31, 32], keep={31}) == 0


@pytest.mark.parametrize("keep", [set(), {1}, {31, 33}])
def test_a_group_is_settled_within_itself_or_not_at_all(actor, doubtful, keep):
    with pytest.raises(UserError):
        settle_group(actor=actor, dataset=doubtful, rows=[31, 32], keep=keep)
    assert statuses(doubtful, 31, 32) == ["needs_review", "needs_review"]


def test_rows_of_a_cluster_come_as_one_group(actor, doubtful):
    Example.objects.filter(dataset=doubtful, row__in=[34, 35]).update(cluster=34)
    group = group_page(doubtful, "near").items[0]
    assert group.rows == [34, 35]
    settle_group(actor=actor, dataset=doubtful, rows=group.rows, keep=group.rows[:1])
    assert statuses(doubtful, 34, 35) == ["accepted", "rejected"]


def test_a_large_group_shows_some_rows_and_is_settled_as_a_whole_in_parts(actor, doubtful, monkeypatch):
    from datasets_app.operations import contradictions

    monkeypatch.setattr(contradictions, "ROWS_AT_ONCE", 8)
    Example.objects.filter(dataset=doubtful, row__lte=12).update(cluster=1, status="needs_review")
    Dataset.objects.filter(pk=doubtful.pk).update(
        needs_review=doubtful.needs_review + 12, accepted=doubtful.accepted - 12
    )
    group = group_at(doubtful, "near", 1)
    assert (len(group.members), group.more) == (8, 4)
    assert settle_group(actor=actor, dataset=doubtful, rows=group.rows, keep=group.rows[:1]) == 8
    assert group_at(doubtful, "near", 1).is_open
    assert settle_group(actor=actor, dataset=doubtful, rows=group.rows, keep=group.rows[:1]) == 4
    assert statuses(doubtful, 1, 2, 12) == ["accepted", "rejected", "rejected"]
    assert not group_at(doubtful, "near", 1).is_open


def test_the_import_fills_in_the_clusters(doubtful):
    assert [row(doubtful, number).cluster for number in (34, 35)] == [34, 34]


def test_groups_come_in_pages_and_each_once(dataset_from):
    rows = clause_lines(20)
    for i in range(12):
        text = f"Question {i * 37} of the catalogue about matter {i * 91} and the deed of the year {1900 + i * 7}."
        rows += [{"text": text, "label": name} for name in ("Payment", "Termination")]
    dataset = dataset_from("many.jsonl", rows)
    seen, cursor = [], 0
    while cursor is not None:
        page = group_page(dataset, "contradiction", cursor)
        seen += [group.anchor for group in page.items]
        cursor = page.next_cursor
    assert seen == list(range(21, 45, 2))


def test_a_group_that_does_not_exist_is_404(doubtful):
    for anchor in (0, 1, 32, 99):
        with pytest.raises(UserError) as refused:
            group_at(doubtful, "contradiction", anchor)
        assert refused.value.status == 404


def test_repetitions_name_the_row_that_stays(doubtful):
    found, cursor = repetitions(doubtful)
    assert [(one.example.row, one.of_row) for one in found] == [(33, 5)]
    assert cursor is None


@pytest.fixture
def spelt(dataset_from):
    rows = clause_lines(60)
    rows += [{"text": f"Money comes late under clause {i * 17} of part {i}.", "label": "payment "} for i in range(3)]
    return dataset_from("spelt.jsonl", rows)


def test_a_rare_spelling_is_given_to_no_row_any_more_and_back_by_undo(actor, spelt):
    variant = spelling_variants(spelt)[0]
    assert variant.usual == "Payment"
    assert use_spelling(actor=actor, dataset=spelt, found=variant.found) == (3, True)
    assert {row(spelt, n).edited_label for n in (61, 62, 63)} == {"Payment"}
    assert spelling_variants(spelt)[0].left == 0
    assert undo_spelling(actor=actor, dataset=spelt, found=variant.found) == (3, True)
    assert row(spelt, 61).edited_label is None


def test_undoing_a_spelling_leaves_a_row_alone_in_which_somebody_changed_more(actor, spelt):
    found = spelling_variants(spelt)[0].found
    operations.edit_example(
        actor=actor, dataset=spelt, example=row(spelt, 61), prompt="Money comes on time in this part.", answer="Payment"
    )
    assert use_spelling(actor=actor, dataset=spelt, found=found) == (2, True)
    assert undo_spelling(actor=actor, dataset=spelt, found=found) == (2, True)
    assert row(spelt, 61).edited_messages[0]["content"] == "Money comes on time in this part."
    assert row(spelt, 62).edited_messages is None


def test_only_a_rare_spelling_can_be_replaced(actor, spelt):
    with pytest.raises(UserError):
        use_spelling(actor=actor, dataset=spelt, found="Termination")


def test_the_page_settles_a_group_by_form(client_for, reviewer, project, doubtful):
    client = client_for(reviewer)
    page = client.get(url(project, doubtful)).content.decode()
    assert "<mark>Termination</mark>" in page
    assert "&lt;i&gt;end&lt;/i&gt;" in page
    sent = client.post(url(project, doubtful), {"kind": "contradiction", "group": 31, "only": 32})
    assert sent.status_code == 302
    assert statuses(doubtful, 31, 32) == ["rejected", "accepted"]
    page = client.get(sent.url).content.decode()
    assert 'id="group-31"' in page, "what was just settled stays on the page, so that it can be taken back"
    client.post(url(project, doubtful), {"kind": "contradiction", "group": 31, "act": "undo"})
    assert statuses(doubtful, 31, 32) == ["needs_review", "needs_review"]


def test_an_answer_can_be_corrected_beside_the_other(client_for, reviewer, project, doubtful):
    body = {"kind": "contradiction", "group": 31, "act": "edit", "row": 32, "answer": "Termination"}
    assert client_for(reviewer).post(url(project, doubtful), body).status_code == 302
    assert row(doubtful, 32).edited_label == "Termination"
    assert client_for(reviewer).post(url(project, doubtful), body | {"row": 1}).status_code == 404


def test_htmx_gets_the_group_alone_and_a_mistake_stays_in_it(client_for, reviewer, project, doubtful):
    client = client_for(reviewer, headers={"HX-Request": "true"})
    body = {"kind": "contradiction", "group": 31}
    refused = client.post(url(project, doubtful), body | {"act": "keep"})
    assert refused.status_code == 422
    assert "Choose at least one row" in refused.content.decode()
    done = client.post(url(project, doubtful), body | {"act": "keep_all"})
    assert done.content.decode().strip().startswith('<article class="card" id="group-31"')
    assert "Settled" in done.content.decode()


def test_spellings_are_settled_by_form(client_for, reviewer, project, spelt):
    client = client_for(reviewer)
    found = spelling_variants(spelt)[0].found
    page = client.get(url(project, spelt) + "?kind=labels").content.decode()
    assert "Use “Payment” for all 3 rows" in page
    client.post(url(project, spelt), {"kind": "labels", "found": found, "act": "spelling"})
    assert row(spelt, 61).edited_label == "Payment"


def test_who_may_settle(client_for, viewer, outsider, project, doubtful):
    body = {"kind": "contradiction", "group": 31, "act": "keep_all"}
    assert client_for(viewer).post(url(project, doubtful), body).status_code == 403
    assert client_for(outsider).post(url(project, doubtful), body).status_code == 404
    assert "Both are right" not in client_for(viewer).get(url(project, doubtful)).content.decode()


@pytest.mark.parametrize("kind", ["contradiction", "near", "labels", "exact"])
def test_each_page_takes_at_most_twelve_queries(
    client_for, reviewer, project, doubtful, kind, django_assert_max_num_queries
):
    client = client_for(reviewer)
    with django_assert_max_num_queries(12):
        assert client.get(f"{url(project, doubtful)}?kind={kind}").status_code == 200


def test_very_long_answers_make_no_very_long_page(client_for, reviewer, project, dataset_from):
    rows = [
        {"prompt": f"Tell the story of clause {i * 13}.", "completion": f"It is story {i} of many."} for i in range(20)
    ]
    rows += [
        {"prompt": "Tell the whole story of the lease.", "completion": f"{word} " * 30_000} for word in ("old", "new")
    ]
    dataset = dataset_from("stories.jsonl", rows)
    page = client_for(reviewer).get(url(project, dataset) + "?kind=contradiction&all=1").content.decode()
    assert 'id="group-21"' in page
    assert len(page) < 60_000


def test_counters_follow_the_settled_groups(actor, doubtful):
    settle_group(actor=actor, dataset=doubtful, rows=[31, 32], keep={31})
    after = Dataset.objects.get(pk=doubtful.pk)
    for status in ("accepted", "flagged", "needs_review", "rejected"):
        assert getattr(after, status) == Example.objects.filter(dataset=doubtful, status=status).count(), status
