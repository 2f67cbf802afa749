"""The review queue: who is given which row, drafts, skipping, taking back, dealing out, and how far everybody is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts_app.permissions import project_for
from benchmarks.made_rows import MadeFinding, MadeRow, made_dataset
from datasets_app import operations
from datasets_app.models import Draft, Example, ReviewAct, RowLock
from datasets_app.operations import review as queue
from datasets_app.queries import review as reads
from datasets_app.queries.review import DEFAULT_FILTERS
from datasets_app.queries.rows import RowFilters
from finetune_engine.errors import UserError


def made(project, user, count=12, task_type="completion"):
    """``count`` rows, of which every other waits for review: 2, 4, 6..."""
    rows = [
        MadeRow(
            f"What does clause {n} say?", f"Clause {n} says that the party pays.",
            status="needs_review" if n % 2 == 0 else "accepted",
            findings=[MadeFinding("duplicate_near", f"Row {n} is almost row 1.", related_row=1)] if n % 2 == 0 else [],
        )
        for n in range(1, count + 1)
    ]  # fmt: skip
    return made_dataset(project, user, rows, task_type=task_type)


@pytest.fixture
def dataset(project, owner):
    return made(project, owner)


@pytest.fixture
def rita(project, reviewer):
    """The reviewer, acting."""
    return project_for(reviewer, project.slug, "review")


def taken(actor, dataset, filters=DEFAULT_FILTERS, **more):
    card = queue.take_next(actor=actor, dataset=dataset, filters=filters, **more).card
    return card.row.example.row if card else None


def decide(actor, dataset, row, action="accept", **more):
    example = Example.objects.get(dataset=dataset, row=row)
    return operations.decide_example(
        actor=actor, dataset=dataset, example=example, action=action, only_undecided=True, **more
    )


def test_the_first_row_that_needs_review_comes_first_and_stays_until_it_is_decided(rita, dataset):
    assert [taken(rita, dataset), taken(rita, dataset)] == [2, 2]
    decide(rita, dataset, 2)
    assert taken(rita, dataset) == 4


def test_two_people_are_never_given_the_same_row(actor, rita, dataset):
    assert (taken(actor, dataset), taken(rita, dataset)) == (2, 4)
    decide(actor, dataset, 2)
    assert taken(actor, dataset) == 6


def test_a_lock_that_ran_out_gives_the_row_to_somebody_else(actor, rita, dataset):
    assert taken(actor, dataset) == 2
    RowLock.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert taken(rita, dataset) == 2
    assert queue.keep_row(actor=actor, dataset=dataset, row=2) is False


def test_a_card_that_stays_open_keeps_its_row(actor, rita, dataset):
    assert taken(actor, dataset) == 2
    RowLock.objects.update(expires_at=timezone.now() + timedelta(seconds=1))
    assert queue.keep_row(actor=actor, dataset=dataset, row=2) is True
    assert RowLock.objects.get().expires_at > timezone.now() + timedelta(seconds=queue.LOCK_SECONDS - 10)


def test_a_row_on_somebody_elses_screen_cannot_be_decided_on(actor, rita, dataset):
    assert taken(rita, dataset) == 2
    with pytest.raises(UserError, match="Reviewer has row 2 on screen"):
        decide(actor, dataset, 2)


def test_a_row_that_was_decided_meanwhile_is_not_decided_again(actor, rita, dataset):
    decide(actor, dataset, 2, "reject")
    with pytest.raises(UserError, match="by Olga Owner"):
        decide(rita, dataset, 2, "accept")
    assert Example.objects.get(dataset=dataset, row=2).status == "rejected"


def test_the_same_decision_sent_twice_is_one_act(actor, dataset):
    decide(actor, dataset, 2)
    decide(actor, dataset, 2)
    assert ReviewAct.objects.count() == 1


def test_a_skipped_row_comes_after_all_others(rita, dataset):
    order = []
    for _ in range(3):
        order.append(taken(rita, dataset))
        queue.skip_example(actor=rita, dataset=dataset, row=order[-1])
    for _ in range(3):
        order.append(taken(rita, dataset))
        decide(rita, dataset, order[-1])
    assert order == [2, 4, 6, 8, 10, 12]
    assert taken(rita, dataset) == 2


def test_somebody_elses_skip_does_not_concern_me(actor, rita, dataset):
    assert taken(actor, dataset) == 2
    queue.skip_example(actor=actor, dataset=dataset, row=2)
    assert taken(rita, dataset) == 2


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (RowFilters(status="accepted"), [1, 3, 5]),
        (RowFilters(code="duplicate_near"), [2, 4, 6]),
        (RowFilters(q="clause 1"), [1, 10, 11]),
        (RowFilters(), [1, 2, 3]),
        (RowFilters(status="needs_review", q="clause 1"), [10, 12, None]),
    ],
)
def test_the_queue_follows_its_filters(rita, dataset, filters, expected):
    order = []
    for _ in expected:
        order.append(taken(rita, dataset, filters))
        if order[-1]:
            decide(rita, dataset, order[-1])
    assert order == expected


def test_a_search_that_looks_at_many_rows_stops_and_goes_on_from_there(rita, dataset, monkeypatch):
    monkeypatch.setattr(reads, "FIRST_WINDOW", 2)
    monkeypatch.setattr(reads, "QUEUE_WINDOW", 2)
    filters = RowFilters(q="clause 12")
    first = queue.take_next(actor=rita, dataset=dataset, filters=filters)
    assert (first.card, first.found.searched_to) == (None, 6)
    assert taken(rita, dataset, filters, after=6) == 12


def test_my_last_acts_are_taken_back_one_by_one(rita, dataset):
    decide(rita, dataset, 2, "accept")
    decide(rita, dataset, 4, "reject")
    assert queue.undo_last(actor=rita, dataset=dataset).row == 4
    assert queue.undo_last(actor=rita, dataset=dataset).row == 2
    dataset.refresh_from_db()
    assert (dataset.needs_review, dataset.rejected) == (6, 0)
    assert not Example.objects.filter(dataset=dataset).exclude(decision="").exists()
    with pytest.raises(UserError, match="nothing of yours"):
        queue.undo_last(actor=rita, dataset=dataset)


def test_taking_back_a_decision_on_an_edit_brings_the_edit_back(actor, dataset):
    example = Example.objects.get(dataset=dataset, row=2)
    operations.edit_example(actor=actor, dataset=dataset, example=example, answer="Something else is said there.")
    operations.decide_example(actor=actor, dataset=dataset, example=example, action="reject")
    queue.undo_last(actor=actor, dataset=dataset)
    example.refresh_from_db()
    assert (example.status, example.decision) == ("accepted", "edit")
    assert example.edited_messages[-1]["content"] == "Something else is said there."


def test_a_row_that_somebody_else_has_changed_since_is_not_put_back(actor, rita, dataset):
    decide(rita, dataset, 2, "accept")
    example = Example.objects.get(dataset=dataset, row=2)
    operations.decide_example(actor=actor, dataset=dataset, example=example, action="reject")
    with pytest.raises(UserError, match="Olga Owner has changed row 2 since"):
        queue.undo_last(actor=rita, dataset=dataset)
    example.refresh_from_db()
    assert example.status == "rejected"


def test_a_skip_is_taken_back_too(rita, dataset):
    assert taken(rita, dataset) == 2
    queue.skip_example(actor=rita, dataset=dataset, row=2)
    assert taken(rita, dataset) == 4
    queue.undo_last(actor=rita, dataset=dataset)
    assert taken(rita, dataset) == 2


def test_an_undone_decision_for_many_rows_does_not_come_back_with_an_undo(actor, dataset):
    bulk = operations.decide_rows(actor=actor, dataset=dataset, filters=DEFAULT_FILTERS, action="accept")
    example = Example.objects.get(dataset=dataset, row=2)
    operations.decide_example(actor=actor, dataset=dataset, example=example, action="reject")
    operations.undo_bulk(actor=actor, bulk=bulk)
    queue.undo_last(actor=actor, dataset=dataset)
    example.refresh_from_db()
    assert (example.status, example.decision, example.bulk_act) == ("needs_review", "", None)


def test_taking_back_the_last_act_on_a_row_that_is_undecided_again_counts_it_as_waiting(actor, dataset):
    bulk = operations.decide_rows(actor=actor, dataset=dataset, filters=DEFAULT_FILTERS, action="accept")
    example = Example.objects.get(dataset=dataset, row=2)
    operations.decide_example(actor=actor, dataset=dataset, example=example, action="reject")
    operations.undo_bulk(actor=actor, bulk=bulk)
    queue.undo_last(actor=actor, dataset=dataset)
    dataset.refresh_from_db()
    assert (dataset.needs_review, reads.sums_of(dataset, actor.user).settled) == (6, 0)


def test_a_decision_taken_back_after_another_check_gives_what_the_checks_say_by_now(actor, dataset):
    decide(actor, dataset, 2, "reject")
    Example.objects.filter(dataset=dataset, row=2).update(checked_status="accepted")
    queue.undo_last(actor=actor, dataset=dataset)
    example = Example.objects.get(dataset=dataset, row=2)
    assert (example.status, example.decision) == ("accepted", "")
    dataset.refresh_from_db()
    assert dataset.counts["accepted"] == Example.objects.filter(dataset=dataset, status="accepted").count()


def test_a_draft_is_there_again_on_another_device(rita, dataset):
    assert taken(rita, dataset) == 2
    typed = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "Half an ans"}]
    queue.save_draft(actor=rita, dataset=dataset, row=2, messages=typed)
    card = queue.take_next(actor=rita, dataset=dataset, filters=DEFAULT_FILTERS).card
    assert card.draft == typed


def test_deciding_forgets_the_draft_but_not_somebody_elses(actor, rita, dataset):
    for person in (actor, rita):
        queue.save_draft(actor=person, dataset=dataset, row=2, messages=[{"role": "user", "content": "x"}])
    decide(rita, dataset, 2)
    assert [draft.user for draft in Draft.objects.all()] == [actor.user]


def test_rows_are_dealt_out_evenly_and_the_shares_are_seen(actor, rita, trainer, project, dataset):
    people = [rita.user, trainer]
    shares = queue.assign_rows(actor=actor, dataset=dataset, filters=DEFAULT_FILTERS, people=people, count=5)
    assert shares == {rita.user.pk: 3, trainer.pk: 2}
    left = {share.user.pk: share.left for share in reads.reviewers(dataset)}
    assert left == {rita.user.pk: 3, trainer.pk: 2, actor.user.pk: 0}
    card = queue.take_next(actor=rita, dataset=dataset, filters=RowFilters(assigned=rita.user.pk)).card
    assert (card.row.example.row, card.assigned_left) == (2, 3)


def test_a_decided_row_is_nobodys_any_more_and_an_undo_gives_it_back(actor, rita, dataset):
    queue.assign_rows(actor=actor, dataset=dataset, filters=DEFAULT_FILTERS, people=[rita.user], count=2)
    decide(rita, dataset, 2)
    assert reads.assigned_left(dataset, rita.user) == 1
    queue.undo_last(actor=rita, dataset=dataset)
    assert reads.assigned_left(dataset, rita.user) == 2


def test_rows_are_taken_back_from_one_person_or_from_all(actor, rita, trainer, dataset):
    queue.assign_rows(actor=actor, dataset=dataset, filters=DEFAULT_FILTERS, people=[rita.user, trainer], count=6)
    assert queue.unassign_rows(actor=actor, dataset=dataset, person=rita.user) == 3
    assert queue.unassign_rows(actor=actor, dataset=dataset) == 3
    assert not Example.objects.filter(assigned_to__isnull=False).exists()


def test_progress_counts_what_needed_review_and_what_a_person_did_today(actor, rita, dataset):
    decide(rita, dataset, 2, lead_seconds=4.0)
    decide(rita, dataset, 4, lead_seconds=10.0)
    decide(rita, dataset, 1, "reject", lead_seconds=6.0)
    queue.skip_example(actor=rita, dataset=dataset, row=6)
    standing = reads.standing(dataset, rita.user)
    dataset.refresh_from_db()
    progress = reads.progress(
        dataset, reads.sums_of(dataset, rita.user), median_seconds=standing.median_seconds, assigned=0
    )
    assert (progress.decided, progress.waiting, progress.total) == (2, 4, 6)
    assert (progress.mine_today, progress.skipped_today, progress.median_seconds) == (3, 1, 6.0)
    assert reads.sums_of(dataset, actor.user).decided_today == 0


def test_a_key_that_is_nobodys_is_told_to_name_a_person(actor, dataset):
    from dataclasses import replace

    with pytest.raises(UserError, match="given to a person"):
        queue.take_next(actor=replace(actor, user=None), dataset=dataset, filters=DEFAULT_FILTERS)


@pytest.mark.django_db(transaction=True)
def test_many_people_at_the_same_moment_get_each_row_once(project, owner):
    from accounts_app.models import Membership, User

    dataset = made(project, owner, count=48)
    people = [User.objects.create_user(email=f"p{n}@example.com") for n in range(6)]
    for person in people:
        Membership.objects.create(project=project, user=person, role="reviewer")

    def work(person):
        actor = project_for(person, project.slug, "review")
        rows = []
        try:
            while row := taken(actor, dataset):
                rows.append(row)
                decide(actor, dataset, row)
            return rows
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        shares = list(pool.map(work, people))
    everything = sorted(row for rows in shares for row in rows)
    assert everything == list(range(2, 49, 2)), "no row twice, none left"
    assert ReviewAct.objects.count() == 24
    dataset.refresh_from_db()
    assert (dataset.needs_review, dataset.accepted) == (0, 48)
