"""Human review where things cross: two tabs, two reviews of the same answers, a review closed meanwhile, odd texts."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts_app.models import AuditEntry
from evaluation_app.models import Evaluation, Review, ReviewerLink, ReviewItem, ReviewLock, Vote
from evaluation_app.operations import reviews as review_operations
from evaluation_app.operations.review_links import invite_reviewer, revoke_reviewer
from evaluation_app.operations.review_votes import keep_draft, next_item, skip, undo_vote, vote
from evaluation_app.operations.reviews import adjudicate, close_review, start_review
from evaluation_app.queries.review_cases import ReviewCase
from evaluation_app.queries.reviews import blind_card
from evaluation_app.views import review_queue
from finetune_engine.errors import UserError
from tests.evaluation_app.made_review import give_answers, opened, prefer, rater, side_of


@pytest.fixture
def judged(done, tmp_path):
    return give_answers(done, tmp_path)


@pytest.fixture
def rita(project, reviewer):
    return rater(project, reviewer)


@pytest.fixture
def tom(project, trainer):
    return rater(project, trainer)


@pytest.fixture
def go(client_for, project):
    """``go(user, "review", pk)``: that page of this app as this person."""

    def get(user, name, *args, data=None, **headers):
        client = user if isinstance(user, Client) else client_for(user)
        url = reverse(f"evaluation:{name}", args=[project.slug, *args])
        return client.get(url, **headers) if data is None else client.post(url, data, **headers)

    return get


def refused(call, *args, **kwargs) -> str:
    with pytest.raises(UserError) as error:
        call(*args, **kwargs)
    return error.value.code


def split_review(actor, judged, rita, tom, size=3):
    """Both raters have judged every case, and differ on all of them."""
    review = opened(actor, judged, size=size, raters_per_item=2)
    prefer(review, rita, "tuned", times=size)
    prefer(review, tom, "base", times=size)
    return review


# --- starting


def test_the_form_sent_twice_starts_one_review(go, client_for, trainer, judged):
    client = client_for(trainer)
    page = go(client, "review_new", judged.pk).content.decode()
    key = re.search(r'name="idempotency_key" value="(\w+)"', page).group(1)
    data = {"kind": "pairs", "first": "tuned", "second": "base", "size": 5, "hardest": 0, "raters_per_item": 1,
            "idempotency_key": key}  # fmt: skip
    first, second = (go(client, "review_new", judged.pk, data=data)["Location"] for _ in range(2))
    assert first == second
    assert Review.objects.count() == 1


def test_two_requests_with_one_key_at_once_give_one_review(actor, judged, monkeypatch):
    first = start_review(actor=actor, evaluation=judged, size=2, idempotency_key="k")
    looked = iter([None, first])  # the other request has not committed when this one looks
    monkeypatch.setattr(review_operations, "_started_with", lambda *_: next(looked))
    assert start_review(actor=actor, evaluation=judged, size=2, idempotency_key="k") == first
    assert Review.objects.count() == 1


def test_another_error_of_the_database_is_not_hidden(actor, judged, monkeypatch):
    def broken(*_args):
        raise IntegrityError("something else")

    monkeypatch.setattr(review_operations, "_created", broken)
    with pytest.raises(IntegrityError):
        start_review(actor=actor, evaluation=judged, size=2)


# --- blindness


@pytest.mark.parametrize("name", ["review", "review_csv", "review_json"])
def test_an_older_review_of_the_same_answers_is_hidden_from_who_judges_them_again(
    go, reviewer, trainer, actor, judged, rita, name
):
    old = opened(actor, judged, size=3)
    prefer(old, rita, "tuned", times=3, correction="Mine.")
    close_review(actor=actor, review=old)
    assert "Clauses" in go(reviewer, "review", old.pk).content.decode()
    opened(actor, judged, size=3, kind="rubric", seed=5)
    hidden = go(reviewer, name, old.pk).content.decode()
    assert [word in hidden for word in ("Payment under", "demo-base", "Mine.", "tuned")] == [False] * 4
    assert go(trainer, name, old.pk).status_code == 200


def test_another_evaluation_of_the_same_cases_is_hidden_as_well(go, reviewer, trainer, actor, judged, done, rita):
    job = judged.work
    job.pk, job.idempotency_key = "01again00000000000000000000"[:26], None
    job.save(force_insert=True)
    again = Evaluation.objects.get(pk=judged.pk)
    again.pk, again.work = job.pk, job
    again.save(force_insert=True)
    assert "Payment under" in go(reviewer, "samples", again.pk).content.decode()
    opened(actor, judged, size=3)
    assert "Hidden for now" in go(reviewer, "samples", again.pk).content.decode()
    assert "A blind review of answers to these cases is open." in go(trainer, "samples", again.pk).content.decode()


def test_who_takes_the_votes_away_is_on_record(go, owner, actor, judged, rita):
    review = opened(actor, judged, size=1)
    go(owner, "review_csv", review.pk)
    prefer(review, rita, "tuned")
    close_review(actor=actor, review=review)
    assert go(owner, "review_csv", review.pk).status_code == 200
    entry = AuditEntry.objects.get(act="review.download")
    assert (entry.subject, entry.user) == (f"review {review.pk}", owner)


# --- two tabs, two people, one moment


def test_undoing_a_skip_takes_no_place_that_another_has_now(actor, judged, rita, tom):
    review = opened(actor, judged, size=1)
    item = next_item(rater=rita, review=review).item
    skip(rater=rita, item=item)
    assert next_item(rater=tom, review=review).item == item
    assert refused(undo_vote, rater=rita, review=review) == "taken_meanwhile"
    assert vote(rater=tom, item=item, choice="tie").pk


def test_who_was_away_keeps_what_came_with_the_vote(go, reviewer, actor, judged, rita, tom):
    review = opened(actor, judged, size=1)
    item = next_item(rater=rita, review=review).item
    ReviewLock.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    prefer(review, tom, "base")
    page = go(reviewer, "review_queue", review.pk, data={"item": item.pk, "choice": "left", "comment": "I think so."})
    assert "Your draft is kept." in page.content.decode()
    assert ReviewLock.objects.get().draft == {"comment": "I think so."}


def test_a_text_that_was_deleted_again_does_not_come_back(go, client_for, reviewer, actor, judged):
    review, client = opened(actor, judged, size=1), client_for(reviewer)
    go(client, "review_queue", review.pk)
    item = ReviewItem.objects.get().pk
    go(client, "review_draft", review.pk, data={"item": item, "comment": "No.", "correction": ""})
    go(client, "review_draft", review.pk, data={"item": item})  # only holds the case on
    assert ReviewLock.objects.get().draft == {"comment": "No."}
    go(client, "review_draft", review.pk, data={"item": item, "comment": "", "correction": ""})
    assert ReviewLock.objects.get().draft == {}


def test_a_draft_for_a_closed_review_is_refused_with_the_reason(go, reviewer, actor, judged, tom):
    review = opened(actor, judged, size=2, raters_per_item=2)
    item = prefer(review, tom, "tuned")[0]
    close_review(actor=actor, review=review)
    told = go(reviewer, "review_draft", review.pk, data={"item": item.pk, "comment": "Late."}).json()
    assert told == {"held": False, "why": "This review is closed: nothing can be added to it."}


@pytest.mark.parametrize("is_guest", [False, True])
def test_a_review_that_is_closed_at_this_moment_says_so(go, reviewer, actor, judged, tom, is_guest, monkeypatch):
    review = opened(actor, judged, size=2, raters_per_item=2)
    _link, token = invite_reviewer(actor=actor, review=review, name="Greta")
    item = prefer(review, tom, "tuned")[0]
    act = review_queue._act

    def close_first(request, place):
        close_review(actor=actor, review=Review.objects.get(pk=review.pk))
        return act(request, place)

    monkeypatch.setattr(review_queue, "_act", close_first)
    data = {"item": item.pk, "choice": "left"}
    page = Client().post(f"/review/{token}/", data) if is_guest else go(reviewer, "review_queue", review.pk, data=data)
    assert page.status_code == 200
    assert "Thank you. Nothing more can be said here." in page.content.decode()
    assert Vote.objects.count() == 1


@pytest.mark.parametrize("ends", ["revoked", "expired", "closed"])
def test_a_card_that_is_open_when_the_link_ends_is_loaded_anew_and_says_why(actor, judged, rita, ends):
    review = opened(actor, judged, size=1, raters_per_item=2)
    link, token = invite_reviewer(actor=actor, review=review, name="Greta")
    path = f"/review/{token}/"
    Client().get(path)
    prefer(review, rita, "tuned")
    if ends == "revoked":
        revoke_reviewer(actor=actor, link=link)
    elif ends == "expired":
        ReviewerLink.objects.update(expires_at=timezone.now())
    else:
        close_review(actor=actor, review=review)
    data = {"item": review.items.get().pk, "choice": "left"}
    fragment = Client().post(path, data, headers={"HX-Request": "true"})
    assert (fragment["HX-Refresh"], fragment.content) == ("true", b"")
    assert Client().post(f"{path}draft", data).status_code == 410
    words = {"revoked": "withdrawn", "expired": "has run out", "closed": "review is closed"}[ends]
    assert words in Client().get(path).content.decode()
    assert Vote.objects.count() == 1


def test_a_link_made_for_a_review_closed_meanwhile_is_refused_with_a_reason(go, owner, actor, judged, rita):
    review = opened(actor, judged, size=1)
    prefer(review, rita, "tuned")
    close_review(actor=actor, review=review)
    page = go(owner, "review_invite", review.pk, data={"name": "Greta", "days": 3})
    assert page.status_code == 409
    assert "This review is closed" in page.content.decode()


# --- the last word


@pytest.mark.parametrize("choice", ["left", ""])
def test_marks_have_no_last_word_not_even_to_take_back(actor, judged, choice):
    review = opened(actor, judged, kind="rubric", size=1)
    assert refused(adjudicate, actor=actor, item=review.items.get(), choice=choice) == "not_pairs"


def test_many_decided_cases_cost_no_more_questions(
    go, client_for, trainer, actor, judged, rita, tom, django_assert_max_num_queries
):
    review, client = split_review(actor, judged, rita, tom, size=10), client_for(trainer)
    for item in review.items.all()[:9]:
        adjudicate(actor=actor, item=item, choice="left")
    with django_assert_max_num_queries(12):
        page = go(client, "review_decide", review.pk)
    assert page.content.decode().count("Take back") == 9


def test_enter_in_the_reason_decides_nothing(go, trainer, actor, judged, rita, tom):
    review = split_review(actor, judged, rita, tom, size=1)
    body = go(trainer, "review_decide", review.pk).content.decode()
    assert re.search(r'<textarea[^>]*name="note"', body)


# --- figures


def test_the_hardest_cases_count_neither_for_agreement_nor_for_the_judge(actor, judged, rita, tom):
    report = {"subject": "tuned", "against": "base", "models": [{"key": "tuned"}, {"key": "base"}]}
    rows = [{"row": row, "choice": "win"} for row in range(101, 113)]
    Evaluation.objects.filter(pk=judged.pk).update(report=report | {"judge": {"votes": rows}})
    judged.refresh_from_db()
    review = opened(actor, judged, size=4, hardest=4, raters_per_item=2)
    hardest = set(review.items.filter(bucket="hardest").values_list("pk", flat=True))
    for who in (rita, tom):
        for _ in range(8):
            item = next_item(rater=who, review=review).item
            liked = "base" if item.pk in hardest and who is tom else "tuned"
            vote(rater=who, item=item, choice=side_of(review, item, who, liked))
    results = close_review(actor=actor, review=review).results
    assert results["agreement"]["items"] == 4
    assert results["agreement"]["percent"]["value"] == 1.0
    assert results["judge"]["n"] == 4


# --- odd texts


def test_turns_in_parts_and_calls_of_tools_are_shown_as_text():
    call = {"id": "1", "function": {"name": "find", "arguments": '{"clause": 3}'}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Look."}, {"type": "text", "text": "<b>Now</b>"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "Spring."},
    ]
    card = blind_card(ReviewItem(pk="i", messages=messages, answers={"a": " x ", "b": "y"}), ["a", "b"])
    assert [said.text for said in card.conversation] == ["Look.\n<b>Now</b>", 'find({"clause": 3})', "Spring."]


def test_markup_in_answers_stays_text(go, reviewer, actor, judged):
    review = opened(actor, judged, size=1)
    bad = "<img src=x onerror=alert(1)> **bold** [a](javascript:alert(1))"
    ReviewItem.objects.update(answers={"tuned": bad, "base": bad}, messages=[{"role": "user", "content": bad}])
    body = go(reviewer, "review_queue", review.pk).content.decode()
    assert "<img src=x" not in body
    assert body.count("&lt;img src=x onerror=alert(1)&gt; **bold** [a](javascript:alert(1))") == 3


def test_what_no_database_stores_becomes_a_mark_when_the_cases_are_copied(actor, judged, monkeypatch):
    case = ReviewCase(1, [{"role": "user", "content": "a\0"}], "b\0", {"tuned": "c\0", "base": "d\ud800"})
    monkeypatch.setattr(review_operations, "review_cases", lambda *_: [case])
    item = opened(actor, judged, size=1, name="n\0").items.get()
    assert item.review.name == "n␀"
    assert (item.messages[0]["content"], item.reference, item.answers) == ("a␀", "b␀", {"tuned": "c␀", "base": "d?"})


def test_a_draft_of_a_megabyte_is_cut_to_what_a_vote_may_say(actor, judged, rita):
    review = opened(actor, judged, size=1)
    item = next_item(rater=rita, review=review).item
    keep_draft(rater=rita, item=item, draft={"correction": "x" * 1_000_000})
    assert len(ReviewLock.objects.get().draft["correction"]) == 20_000
