"""Corrections of a review become candidate rows of the data, and go out of it again."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.urls import reverse

from accounts_app.permissions import project_for
from datasets_app.models import Dataset, Example, Snapshot
from datasets_app.queries import source_cards
from datasets_app.queries.rows import full_rows
from evaluation_app.models import Vote
from evaluation_app.operations.review_corrections import send_corrections, withdraw_corrections
from evaluation_app.operations.reviews import close_review
from finetune_engine.errors import UserError
from tests.datasets_app.conftest import clauses, dataset_from, quick_jobs, upload_of  # noqa: F401  # fixtures
from tests.evaluation_app.made_review import give_answers, opened, prefer, rater


@pytest.fixture
def corrected(actor, done, tmp_path, project, reviewer, trainer, clauses):  # noqa: F811
    """A closed review with three corrections, two of one case; the evaluation's snapshot is of a real dataset."""
    Snapshot.objects.filter(pk=done.snapshot_id).update(dataset=clauses)
    review = opened(actor, give_answers(done, tmp_path), size=2, raters_per_item=2)
    rita, tom = rater(project, reviewer), rater(project, trainer)
    prefer(review, rita, "tuned", times=2, correction="Due on the first day of spring.", comment="Name the day.")
    prefer(review, tom, "base", times=1, correction="Due in the spring of each year.")
    prefer(review, tom, "base", times=1)
    review = close_review(actor=actor, review=review)
    review.evaluation.snapshot.refresh_from_db()
    return review


def rows_of(dataset) -> list[Example]:
    dataset = Dataset.objects.get(pk=dataset.pk)
    return list(
        Example.objects.filter(dataset=dataset, import_attempt=dataset.visible_attempt, row__gt=62).order_by("row")
    )


def test_each_correction_waits_in_the_queue_and_says_where_it_came_from(actor, corrected, clauses, quick_jobs):  # noqa: F811
    assert send_corrections(actor=actor, review=corrected).added == 3
    quick_jobs()
    found = rows_of(clauses)
    assert [row.status for row in found] == ["needs_review"] * 3
    told = full_rows(Dataset.objects.get(pk=clauses.pk), found)[0].text
    assert told.messages[-1]["content"].startswith("Due ")
    assert told.metadata["review"] == corrected.pk
    assert told.metadata["snapshot_row"] in set(corrected.items.values_list("row", flat=True))
    texts = full_rows(Dataset.objects.get(pk=clauses.pk), found)
    provenances = [row.text.metadata["provenance"] for row in texts]
    assert any(one.startswith("Reviewer wrote this answer") and one.endswith("“Name the day.”") for one in provenances)
    assert Vote.objects.filter(sent_to_data_at__isnull=False).count() == 3


def test_sent_twice_they_are_there_once(actor, corrected, clauses, quick_jobs):  # noqa: F811
    send_corrections(actor=actor, review=corrected)
    quick_jobs()
    again = send_corrections(actor=actor, review=corrected)
    assert (again.added, again.known, again.job) == (0, 3, None)
    assert len(rows_of(clauses)) == 3


def test_they_are_taken_out_again_and_may_be_sent_anew(actor, corrected, clauses, quick_jobs):  # noqa: F811
    send_corrections(actor=actor, review=corrected)
    quick_jobs()
    withdraw_corrections(actor=actor, review=corrected)
    quick_jobs()
    assert rows_of(clauses) == []
    assert not Vote.objects.filter(sent_to_data_at__isnull=False).exists()
    with pytest.raises(UserError) as refused:
        withdraw_corrections(actor=actor, review=corrected)
    assert refused.value.code == "nothing_sent"
    assert send_corrections(actor=actor, review=corrected).added == 3
    assert [card.state for card in source_cards(Dataset.objects.get(pk=clauses.pk))] == ["used", "removed", "adding"]


def test_while_the_review_is_open_nothing_is_sent(actor, done, tmp_path, project, reviewer):
    review = opened(actor, give_answers(done, tmp_path))
    prefer(review, rater(project, reviewer), "tie", correction="So.")
    with pytest.raises(UserError) as refused:
        send_corrections(actor=actor, review=review)
    assert refused.value.code == "review_open"


def test_a_reviewer_sends_nothing(project, reviewer, corrected):
    with pytest.raises(PermissionDenied):
        send_corrections(actor=project_for(reviewer, project.slug, "view"), review=corrected)


def test_the_page_offers_to_send_and_then_to_take_back(client_for, trainer, project, corrected, quick_jobs):  # noqa: F811
    client, page = client_for(trainer), reverse("evaluation:review", args=[project.slug, corrected.pk])
    assert "Send 3 corrections to the data" in client.get(page).content.decode()
    client.post(reverse("evaluation:review_corrections", args=[project.slug, corrected.pk]), {"action": "send"})
    assert "They are being added to the data" in client.get(page).content.decode()
    quick_jobs()
    body = client.get(page).content.decode()
    assert "3 corrections are in the data" in body
    assert "Take them out again" in body
