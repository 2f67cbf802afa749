"""Human review: the drawing, the queue of each rater, locks, votes, the last word, closing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.utils import timezone

from accounts_app.models import AuditEntry
from accounts_app.permissions import project_for
from evaluation_app.models import Review, ReviewLock, Vote
from evaluation_app.operations.review_votes import keep_draft, next_item, skip, undo_vote, vote
from evaluation_app.operations.reviews import adjudicate, close_review, discard_review, start_review
from evaluation_app.queries.review_results import human_verdict, review_results, sides_for_decision, winner
from evaluation_app.queries.reviews import queue_of, rater_card, rater_turns, split_items
from finetune_engine.errors import UserError
from tests.evaluation_app.made_review import give_answers, opened, prefer, rater, side_of


@pytest.fixture
def judged(done, tmp_path):
    return give_answers(done, tmp_path)


@pytest.fixture
def olga(project, owner):
    return rater(project, owner)


@pytest.fixture
def rita(project, reviewer):
    return rater(project, reviewer)


@pytest.fixture
def tom(project, trainer):
    return rater(project, trainer)


def run_out_all_locks():
    ReviewLock.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def refused(call, *args, **kwargs) -> str:
    with pytest.raises(UserError) as error:
        call(*args, **kwargs)
    return error.value.code


# --- the drawing


def test_the_same_seed_draws_the_same_cases_and_copies_them(actor, judged):
    first, second = (opened(actor, judged, size=5, hardest=2) for _ in range(2))
    drawn = [[(i.row, i.bucket, i.answers) for i in review.items.all()] for review in (first, second)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 7
    assert {key: text[:20] for key, text in drawn[0][0][2].items()}.keys() == {"tuned", "base"}


def test_the_hardest_come_from_the_rest_by_surprise_for_each_token(actor, judged):
    review = opened(actor, judged, size=4, hardest=2)
    sample = set(review.items.filter(bucket="sample").values_list("row", flat=True))
    hardest = list(review.items.filter(bucket="hardest").values_list("row", flat=True))
    rest = sorted(set(range(101, 113)) - sample, reverse=True)
    assert hardest == rest[:2]


def test_a_stratified_sample_has_every_group_in_its_proportion(actor, judged):
    review = opened(actor, judged, size=8, stratify_by="metadata:kind")
    found = sorted(review.items.values_list("stratum", flat=True))
    assert (found.count("lease"), found.count("loan")) == (2, 6)


def test_without_a_wish_the_subject_stands_beside_the_other_model_and_wins_are_its(actor, judged):
    assert opened(actor, judged).keys == ["tuned", "base"]
    assert opened(actor, judged, keys=["base", "tuned"]).keys == ["tuned", "base"]
    assert opened(actor, judged, kind="rubric").keys == ["tuned"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"kind": "poll"}, "unknown_kind"),
        ({"keys": ["tuned", "gpt"]}, "unknown_model"),
        ({"keys": ["tuned"]}, "number_of_models"),
        ({"kind": "rubric", "keys": ["tuned", "base"]}, "number_of_models"),
        ({"size": 0}, "bad_number"),
        ({"raters_per_item": 21}, "bad_number"),
        ({"stratify_by": "metadata:nothing"}, "unknown_stratum"),
        ({"kind": "rubric", "rubric": []}, "bad_rubric"),
        ({"kind": "rubric", "rubric": [{"question": "Good?", "anchors": {"6": "x"}}]}, "bad_rubric"),
    ],
)
def test_what_cannot_be_reviewed_is_refused(actor, judged, options, code):
    assert refused(opened, actor, judged, **options) == code
    assert not Review.objects.exists()


def test_a_reviewer_starts_no_review(project, reviewer, judged):
    with pytest.raises(PermissionDenied):
        start_review(actor=project_for(reviewer, project.slug, "view"), evaluation=judged)


# --- the queue


def test_every_rater_has_an_order_of_their_own_and_sides_that_balance(actor, judged):
    review = opened(actor, judged, size=12)
    turns = [rater_turns(review, f"user:{n}") for n in range(20)]
    assert len({tuple(one) for one in turns}) == 20
    assert all(sum(one.values()) == 6 for one in turns)
    for item in turns[0]:
        assert 2 <= sum(one[item] for one in turns) <= 18, "each case stands now this way, now that"


def test_one_s_own_case_and_draft_come_back(actor, judged, rita):
    review = opened(actor, judged)
    first = next_item(rater=rita, review=review)
    keep_draft(rater=rita, item=first.item, draft={"comment": "Not sure yet.", "evil": "x", "marks": {"a": 9}})
    again = next_item(rater=rita, review=review)
    assert again.item == first.item
    assert again.lock.draft == {"comment": "Not sure yet.", "marks": {}}
    run_out_all_locks()
    assert next_item(rater=rita, review=review).item == first.item


def test_a_case_is_given_to_so_many_as_are_to_judge_it_and_to_others_when_they_leave(actor, judged, rita, tom, olga):
    review = opened(actor, judged, size=1, raters_per_item=2)
    first = next_item(rater=rita, review=review).item
    assert next_item(rater=tom, review=review).item == first
    waiting = next_item(rater=olga, review=review)
    assert (waiting.item, waiting.queue.waiting, waiting.queue.left) == (None, 1, 1)
    run_out_all_locks()
    assert next_item(rater=olga, review=review).item == first


def test_who_was_away_too_long_does_not_vote_over_the_others_and_keeps_the_draft(actor, judged, rita, tom):
    review = opened(actor, judged, size=1)
    item = next_item(rater=rita, review=review).item
    run_out_all_locks()
    prefer(review, tom, "tuned")
    assert refused(vote, rater=rita, item=item, choice="left") == "judged_meanwhile"
    assert keep_draft(rater=rita, item=item, draft={"comment": "kept"}) is False
    assert ReviewLock.objects.get(rater=rita.name).draft == {"comment": "kept"}


def test_only_a_case_that_lies_before_one_can_be_judged_and_only_once(actor, judged, rita):
    review = opened(actor, judged, raters_per_item=2)
    mine = next_item(rater=rita, review=review).item
    other = review.items.exclude(pk=mine.pk).first()
    assert refused(vote, rater=rita, item=other, choice="left") == "not_offered"
    assert refused(vote, rater=rita, item=mine, choice="middle") == "choice_missing"
    vote(rater=rita, item=mine, choice="left")
    assert refused(vote, rater=rita, item=mine, choice="right") == "already_voted"
    assert Vote.objects.count() == 1


def test_skipped_cases_come_after_all_others(actor, judged, rita):
    review = opened(actor, judged, size=3)
    skipped = next_item(rater=rita, review=review).item
    skip(rater=rita, item=skipped)
    others = prefer(review, rita, "tie", times=2)
    assert skipped not in others
    assert next_item(rater=rita, review=review).item == skipped


def test_undo_gives_the_case_back_with_what_was_said(actor, judged, rita):
    review = opened(actor, judged)
    first = prefer(review, rita, "tuned", correction="Better so.", comment="Why not.")[0]
    second = next_item(rater=rita, review=review).item
    skip(rater=rita, item=second)
    assert undo_vote(rater=rita, review=review) == second
    assert undo_vote(rater=rita, review=review) == first
    back = next_item(rater=rita, review=review)
    assert back.item == first
    assert back.lock.draft["correction"] == "Better so."
    assert not Vote.objects.exists()
    assert refused(undo_vote, rater=rita, review=review) == "nothing_to_undo"


def test_a_vote_knows_who_stood_on_the_left_whatever_the_sides(actor, judged, rita, tom):
    review = opened(actor, judged, size=12, raters_per_item=2)
    for one in (rita, tom):
        prefer(review, one, "tuned", times=12)
    votes = list(Vote.objects.all())
    assert {v.left_key for v in votes} == {"tuned", "base"}
    assert {winner(review.keys, v.choice, v.left_key) for v in votes} == {"tuned"}


@pytest.mark.django_db(transaction=True)
def test_two_raters_at_once_never_both_take_the_last_place(actor, judged, rita, tom):
    def work(one):
        try:
            judged_items = []
            while (offer := next_item(rater=one, review=review)).item is not None:
                vote(rater=one, item=offer.item, choice="left")
                judged_items.append(offer.item.pk)
            return judged_items
        finally:
            connection.close()

    review = opened(actor, judged, size=12)
    with ThreadPoolExecutor(2) as pool:
        shares = list(pool.map(work, [rita, tom]))
    assert len(shares[0]) + len(shares[1]) == 12
    assert not set(shares[0]) & set(shares[1])
    assert Vote.objects.count() == 12


@pytest.mark.django_db(transaction=True)
def test_a_double_click_votes_once(actor, judged, rita):
    def click(_n):
        try:
            vote(rater=rita, item=item, choice="left")
        except UserError as error:
            return error.code
        finally:
            connection.close()

    review = opened(actor, judged, raters_per_item=3)
    item = next_item(rater=rita, review=review).item
    with ThreadPoolExecutor(2) as pool:
        assert sorted(map(str, pool.map(click, range(2)))) == ["None", "already_voted"]
    assert Vote.objects.count() == 1


# --- marks and corrections


def test_marks_are_needed_for_every_question(actor, judged, rita):
    review = opened(actor, judged, kind="rubric")
    item = next_item(rater=rita, review=review).item
    assert refused(vote, rater=rita, item=item, marks={"correct": 5, "complete": 6, "usable": 1}) == "mark_missing"
    vote(rater=rita, item=item, marks={"correct": "5", "complete": 4, "usable": 1})
    assert Vote.objects.get().marks == {"correct": 5, "complete": 4, "usable": 1}


def test_an_answer_that_is_left_as_it_stands_is_no_correction_and_an_emptied_field_is_none(actor, judged, rita):
    review = opened(actor, judged, kind="correction")
    item = next_item(rater=rita, review=review).item
    assert refused(vote, rater=rita, item=item, correction="  ") == "correction_missing"
    vote(rater=rita, item=item, correction=item.answers["tuned"])
    item = next_item(rater=rita, review=review).item
    vote(rater=rita, item=item, correction="In spring.\r\nNot later.\0")
    assert [v.correction for v in Vote.objects.all()] == ["", "In spring.\nNot later.\N{SYMBOL FOR NULL}"]
    found = review_results(close_review(actor=actor, review=review)).unchanged
    assert (found["value"], found["n"]) == (0.5, 2)


# --- the last word, and the end


def differing(review, *raters):
    """One case judged by all: the first prefers the trained model, the others its base model."""
    for number, one in enumerate(raters):
        prefer(review, one, "tuned" if number == 0 else "base")
    return split_items(review)


def test_where_raters_differ_a_trainer_has_the_last_word_blind(actor, judged, rita, tom):
    review = opened(actor, judged, size=1, raters_per_item=2)
    (item,) = differing(review, rita, tom)
    left, _right = sides_for_decision(review, [item], actor)[item.pk]
    decided = adjudicate(actor=actor, item=item, choice="left" if left == "tuned" else "right", note="Exact.")
    assert (decided.decision, decided.decided_by, decided.decision_note) == ("tuned", actor.user, "Exact.")
    assert AuditEntry.objects.filter(act="review.adjudicate").count() == 1
    assert refused(undo_vote, rater=rita, review=review) == "decided_since"
    results = review_results(close_review(actor=actor, review=review))
    assert (results.pairs["items"]["wins"], results.pairs["adjudicated"]) == (1, [1])


def test_a_decision_can_be_taken_back_and_then_the_case_counts_as_a_tie(actor, judged, rita, tom):
    review = opened(actor, judged, size=1, raters_per_item=2)
    (item,) = differing(review, rita, tom)
    adjudicate(actor=actor, item=item, choice="left")
    assert adjudicate(actor=actor, item=item, choice="").decision == ""
    results = review_results(close_review(actor=actor, review=review))
    assert (results.pairs["items"]["ties"], results.pairs["undecided"]) == (1, [1])


def test_nothing_is_decided_where_raters_agree_or_are_missing(actor, judged, rita, tom):
    review = opened(actor, judged, size=1, raters_per_item=2)
    (item,) = prefer(review, rita, "tuned")
    assert refused(adjudicate, actor=actor, item=item, choice="left") == "not_complete"
    prefer(review, tom, "tuned")
    assert refused(adjudicate, actor=actor, item=item, choice="left") == "no_difference"


def test_a_reviewer_neither_decides_nor_closes(project, reviewer, actor, judged, rita, tom):
    review = opened(actor, judged, size=1, raters_per_item=2)
    (item,) = differing(review, rita, tom)
    theirs = project_for(reviewer, project.slug, "view")
    with pytest.raises(PermissionDenied):
        adjudicate(actor=theirs, item=item, choice="left")
    with pytest.raises(PermissionDenied):
        close_review(actor=theirs, review=review)


def test_closing_freezes_the_results_and_ends_everything(actor, judged, rita, tom):
    review = opened(actor, judged, size=6, hardest=2, raters_per_item=2)
    for one in (rita, tom):
        prefer(review, one, "tuned", times=8)
    held = close_review(actor=actor, review=review)
    results = review_results(held)
    rate = results.pairs["items"]
    assert (rate["wins"], rate["losses"], rate["n"], rate["rate"]) == (6, 0, 6, 1.0)
    assert results.pairs["hardest"]["wins"] == 2, "the hardest are told apart, and are not among the six"
    assert rate["p_value"] == pytest.approx(2 * 0.5**6)
    assert results.agreement["percent"]["value"] == 1.0
    assert results.agreement["alpha"]["value"] is None, "all labels alike: not measurable"
    assert results.models == [{"key": "tuned", "name": "Clauses"}, {"key": "base", "name": "demo-base"}]
    Vote.objects.all().delete()
    assert review_results(Review.objects.get(pk=review.pk)).votes == 16
    for call in (next_item, undo_vote):
        assert refused(call, rater=rita, review=review) == "review_closed"
    assert refused(close_review, actor=actor, review=review) == "review_closed"


def test_a_review_without_votes_is_not_closed(actor, judged):
    assert refused(close_review, actor=actor, review=opened(actor, judged)) == "no_votes"


def test_a_review_that_nobody_has_voted_in_can_be_discarded(actor, judged, rita):
    review = opened(actor, judged)
    item = next_item(rater=rita, review=review).item
    discard_review(actor=actor, review=review)
    assert not Review.objects.exists()
    assert refused(vote, rater=rita, item=item, choice="left") == "review_gone"
    other = opened(actor, judged)
    prefer(other, rita, "tie")
    assert refused(discard_review, actor=actor, review=other) == "has_votes"


def test_the_verdict_of_people_is_of_the_newest_closed_review(actor, judged, rita):
    assert human_verdict(judged) is None
    for key in ("base", "tuned"):
        review = opened(actor, judged, size=3)
        prefer(review, rita, key, times=3)
        assert human_verdict(judged) is None or key == "tuned", "an open review says nothing"
        close_review(actor=actor, review=review)
    found = human_verdict(judged)
    assert (found.win_rate, found.decisive, found.model, found.against) == (1.0, 3, "Clauses", "demo-base")
    assert found.raters == 1


def test_a_later_review_of_corrections_does_not_hide_who_was_preferred(actor, judged, rita):
    pairs = opened(actor, judged, size=3)
    prefer(pairs, rita, "tuned", times=3)
    close_review(actor=actor, review=pairs)
    corrections = opened(actor, judged, kind="correction", size=3)
    vote(rater=rita, item=next_item(rater=rita, review=corrections).item, correction="Seven days.")
    close_review(actor=actor, review=corrections)
    assert human_verdict(judged).win_rate == 1.0


def test_the_judge_of_the_report_is_held_against_the_people(actor, judged, rita):
    votes = [{"row": row, "choice": "win" if row % 2 else "loss"} for row in range(101, 113)]
    judged.report |= {"subject": "tuned", "against": "base", "judge": {"votes": votes}}
    judged.save()
    review = opened(actor, judged, size=12)
    prefer(review, rita, "tuned", times=12)
    found = review_results(close_review(actor=actor, review=review)).judge
    assert (found["n"], found["decisive_agreement"]) == (12, 0.5)
    assert human_verdict(judged).judge == found


def test_marks_have_their_mean_with_an_interval_and_agreement(actor, judged, rita, tom):
    review = opened(actor, judged, kind="rubric", size=4, raters_per_item=2)
    for one, marks in ((rita, (5, 4, 4, 1)), (tom, (5, 4, 4, 1))):
        by_item = dict(zip(review.items.order_by("number").values_list("pk", flat=True), marks, strict=True))
        for _ in range(4):
            item = next_item(rater=one, review=review).item
            vote(rater=one, item=item, marks=dict.fromkeys(("correct", "complete", "usable"), by_item[item.pk]))
    question = review_results(close_review(actor=actor, review=review)).rubric[0]
    assert (question["mean"], question["n"]) == (3.5, 4)
    assert question["ci_low"] < 3.5 < question["ci_high"]
    assert question["agreement"]["alpha"]["value"] == 1.0
    assert [one["n"] for one in question["marks"]] == [2, 0, 0, 4, 2]
    assert "3.5 of 5" in human_verdict(judged).sentence


def test_the_time_is_what_the_page_measured_else_since_the_case_was_given(actor, judged, rita):
    review = opened(actor, judged)
    item = next_item(rater=rita, review=review).item
    ReviewLock.objects.update(taken_at=timezone.now() - timedelta(seconds=40))
    vote(rater=rita, item=item, choice="tie")
    prefer(review, rita, "tie", lead_seconds=3.5)
    found = [v.lead_seconds for v in Vote.objects.order_by("pk")]
    assert found[1] == 3.5
    assert 40 <= found[0] < 60


def test_both_answers_are_trimmed_alike(actor, judged, rita):
    review = opened(actor, judged, size=12)
    for item in review.items.all():
        card = rater_card(review, item, queue_of(review, rita.name))
        assert all(text == text.strip() for text in card.answers)
        seen = "left" if "Payment" in card.answers[0] else "right"
        assert seen == side_of(review, item, rita, "tuned")


def test_the_audit_trail_tells_who_judged_and_not_what(actor, judged, rita):
    review = opened(actor, judged)
    prefer(review, rita, "tuned", comment="secret words")
    entry = AuditEntry.objects.get(act="review.vote")
    assert entry.user == rita.user
    assert set(entry.data) == {"by", "item"}
