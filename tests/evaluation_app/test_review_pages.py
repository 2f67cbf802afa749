"""The pages and the API of human review: who may, what is blind, what a guest's link opens, corrections into the data."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts_app.models import AuditEntry
from evaluation_app.models import Review, ReviewerLink, ReviewLock, Vote
from evaluation_app.operations.review_links import invite_reviewer, revoke_reviewer
from evaluation_app.operations.reviews import close_review
from evaluation_app.permissions import guest, open_link
from tests.evaluation_app.made_review import give_answers, opened, prefer, rater, side_of

QUEUE = "evaluation:review_queue"


@pytest.fixture
def judged(done, tmp_path):
    return give_answers(done, tmp_path)


@pytest.fixture
def review(actor, judged):
    return opened(actor, judged, size=6, name="Which clause reads better")


@pytest.fixture
def go(client_for, project):
    """``go(user, "review", pk)``: that page of this app as this person."""

    def get(user, name, *args, data=None, **headers):
        client = user if isinstance(user, Client) else client_for(user)
        url = reverse(f"evaluation:{name}", args=[project.slug, *args])
        return client.get(url, **headers) if data is None else client.post(url, data, **headers)

    return get


@pytest.fixture
def rita(project, reviewer):
    return rater(project, reviewer)


@pytest.fixture
def link(actor, review):
    """``(link, path)`` of somebody from outside."""
    made, token = invite_reviewer(actor=actor, review=review, name="Greta Guest")
    return made, f"/review/{token}/"


def item_of(response) -> str:
    return re.search(r'name="item" value="(\w+)"', response.content.decode()).group(1)


# --- starting


def test_the_form_starts_a_review_with_what_was_chosen(go, trainer, judged):
    page = go(trainer, "review_new", judged.pk)
    assert "12 cases can be drawn" in page.content.decode()
    data = {"kind": "pairs", "first": "tuned", "second": "base", "size": 5, "hardest": 2, "raters_per_item": 2,
            "stratify_by": "metadata:kind", "name": "Look", "instructions": "Mind the dates.", "rubric": ""}  # fmt: skip
    response = go(trainer, "review_new", judged.pk, data=data)
    made = Review.objects.get()
    assert response["Location"].endswith(f"/reviews/{made.pk}")
    assert (made.keys, made.raters_per_item, made.items.count(), made.name) == (["tuned", "base"], 2, 7, "Look")


def test_a_mistake_stands_beside_its_field(go, trainer, judged):
    data = {"kind": "pairs", "first": "tuned", "second": "tuned", "size": 5, "hardest": 0, "raters_per_item": 1}
    response = go(trainer, "review_new", judged.pk, data=data)
    assert response.status_code == 422
    assert "Choose two different models." in response.content.decode()


def test_own_questions_are_read_from_lines(go, trainer, judged):
    data = {"kind": "rubric", "first": "tuned", "second": "base", "size": 5, "hardest": 0, "raters_per_item": 1,
            "rubric": "Is it polite? | rude | neutral | warm\nShort enough?"}  # fmt: skip
    go(trainer, "review_new", judged.pk, data=data)
    asked = Review.objects.get().rubric
    assert asked == [
        {"name": "q1", "question": "Is it polite?", "anchors": {"1": "rude", "3": "neutral", "5": "warm"}},
        {"name": "q2", "question": "Short enough?", "anchors": {}},
    ]
    data["rubric"] = "Is it polite? | rude"
    assert go(trainer, "review_new", judged.pk, data=data).status_code == 422


# --- blindness


def words_of_the_models(review: Review) -> re.Pattern[str]:
    """Names, keys and ids that would tell who wrote what."""
    model = review.evaluation.trained_model
    told = [
        "tuned",
        "base_answer",
        "demo-base",
        model.name,
        model.pk,
        model.api_name,
        review.evaluation_id,
        str(review.seed),
    ]
    return re.compile("|".join(map(re.escape, told)))


def test_no_answer_of_the_queue_names_a_model(go, client_for, reviewer, review, project):
    """All the way through: every page, fragment and draft answer, bodies and headers alike."""
    client, secret = client_for(reviewer), words_of_the_models(review)
    said = [go(client, QUEUE.removeprefix("evaluation:"), review.pk)]
    for _ in range(6):
        item = item_of(said[-1])
        draft = go(client, "review_draft", review.pk, data={"item": item, "comment": "hm"})
        said += [
            draft,
            go(client, "review_queue", review.pk, data={"item": item, "choice": "left"}, HTTP_HX_REQUEST="true"),
        ]
    said += [go(client, "review", review.pk), go(client, "reviews")]
    for response in said:
        body = response.content.decode().replace("Clauses of", "")
        found = secret.search(body)
        assert found is None, f"{response.request['PATH_INFO']}: {body[max(0, found.start() - 80) : found.end() + 80]}"
        assert not secret.search(json.dumps(dict(response.headers)))


def test_both_sides_have_the_same_markup(go, reviewer, review):
    body = go(reviewer, "review_queue", review.pk).content.decode()
    sides = re.findall(r'<section class="card vote-answer".*?</section>', body, re.DOTALL)
    bare = [re.sub(r"vote-text\">.*?</p>", "", re.sub(r"\d", "", one), flags=re.DOTALL) for one in sides]
    assert len(sides) == 2
    assert bare[0] == bare[1]


def test_two_raters_get_other_orders_and_sides(go, reviewer, trainer, actor, judged):
    review = opened(actor, judged, size=12, raters_per_item=2)
    seen = []
    for person in (reviewer, trainer):
        client, mine = Client(), []
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        for _ in range(12):
            page = go(client, "review_queue", review.pk)
            first = re.search(r'vote-text">(.)', page.content.decode()).group(1)
            mine.append((item_of(page), "tuned" if first == "P" else "base"))
            go(client, "review_queue", review.pk, data={"item": mine[-1][0], "choice": "tie"})
        seen.append(mine)
    assert [item for item, _ in seen[0]] != [item for item, _ in seen[1]]
    assert dict(seen[0]) != dict(seen[1])
    assert [sum(left == "tuned" for _, left in mine) for mine in seen] == [6, 6]


def test_before_closing_the_page_says_how_much_and_not_what(go, owner, review, rita):
    prefer(review, rita, "tuned", times=4, correction="Mine.")
    body = go(owner, "review", review.pk).content.decode()
    assert "4 of 30 votes; 26 more decisive votes are needed" in body
    for hidden in ("Clauses</", "demo-base", "Mine.", "Preferred in", "votes.csv"):
        assert hidden not in body, hidden


@pytest.mark.parametrize("name", ["review_csv", "review_json"])
def test_votes_are_handed_out_only_after_closing(go, owner, actor, review, rita, name):
    prefer(review, rita, "tuned", times=2, comment="=1+1")
    assert go(owner, name, review.pk).status_code == 409
    close_review(actor=actor, review=review)
    body = go(owner, name, review.pk).content.decode()
    assert body.count("tuned") >= 4
    if name == "review_csv":
        assert "'=1+1" in body


def test_while_a_review_is_open_reviewers_do_not_see_who_wrote_what(go, reviewer, trainer, actor, judged, review, rita):
    def pages(person):
        answers = [go(person, name, judged.pk) for name in ("detail", "samples", "samples_csv")]
        return [one.getvalue().decode() for one in [*answers, go(person, "report", judged.pk)]]

    assert [answer in body for body in pages(reviewer) for answer in ("Payment under", "demo-base")] == [False] * 8
    assert "Hidden for now" in pages(reviewer)[1]
    assert "looking here before you have judged unblinds you" in pages(trainer)[1]
    prefer(review, rita, "tuned")
    close_review(actor=actor, review=review)
    assert all("Payment under" in body for body in pages(reviewer)[1:2])
    assert "unblinds you" not in pages(trainer)[1]


def test_afterwards_names_and_figures_are_there(go, viewer, actor, review, rita):
    prefer(review, rita, "tuned", times=6)
    close_review(actor=actor, review=review)
    body = go(viewer, "review", review.pk).content.decode()
    assert "of 6 decisive items" in body
    assert "not measurable" in body
    assert "Clauses beside demo-base" in body


# --- judging by pages


def test_undo_by_the_button_brings_the_case_and_the_text_back(go, client_for, reviewer, review):
    client = client_for(reviewer)
    item = item_of(go(client, "review_queue", review.pk))
    go(client, "review_queue", review.pk, data={"item": item, "choice": "left", "correction": "Say it so."})
    response = go(client, "review_queue", review.pk, data={"action": "undo"}, HTTP_HX_REQUEST="true")
    assert item_of(response) == item
    assert "Say it so." in response.content.decode()


def test_marks_that_are_missing_are_named_and_the_others_stay(go, client_for, reviewer, actor, judged):
    review = opened(actor, judged, kind="rubric")
    client = client_for(reviewer)
    item = item_of(go(client, "review_queue", review.pk))
    response = go(client, "review_queue", review.pk, data={"item": item, "action": "vote", "mark-correct": "4"})
    assert response.status_code == 422
    body = response.content.decode()
    assert "Give a mark from 1 to 5: Does it answer all that was asked?" in body
    assert 'name="mark-correct" value="4" checked' in body


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("reviewer", 200), ("trainer", 200), ("outsider", 404)])
def test_the_queue_is_for_those_who_may_judge(role, status, request, go, review):
    assert go(request.getfixturevalue(role), "review_queue", review.pk).status_code == status


@pytest.mark.parametrize(
    ("name", "role", "status"),
    [("review_close", "reviewer", 403), ("review_decide", "reviewer", 403), ("review_corrections", "reviewer", 403),
     ("review_invite", "trainer", 403), ("review_invite", "owner", 200), ("review_close", "outsider", 404)],
)  # fmt: skip
def test_leading_a_review_takes_the_role_for_it(name, role, status, request, go, review):
    assert go(request.getfixturevalue(role), name, review.pk, data={"name": "x", "days": 3}).status_code == status


def test_another_projects_review_is_not_there(go, outsider, review, client_for):
    from accounts_app.models import Membership

    theirs = Membership.objects.get(user=outsider).project.slug
    url = reverse("evaluation:review", args=[theirs, review.pk])
    assert client_for(outsider).get(url).status_code == 404


def test_no_page_asks_the_database_too_often(go, owner, review, rita, actor, django_assert_max_num_queries, client_for):
    client = client_for(owner)
    prefer(review, rita, "tuned", times=3, correction="So.")
    for name in ("review", "review_queue", "review_decide"):
        with django_assert_max_num_queries(14 if name == "review_queue" else 12):  # two are a savepoint of the test
            go(client, name, review.pk)
    close_review(actor=actor, review=review)
    with django_assert_max_num_queries(12):
        go(client, "review", review.pk)


# --- people from outside


def test_a_guest_judges_without_account_or_cookie(link, review):
    made, path = link
    client = Client(enforce_csrf_checks=True)
    page = client.get(path)
    assert page.status_code == 200
    assert not page.cookies
    assert page["Cache-Control"] == "no-store, private"
    assert page["Referrer-Policy"] == "no-referrer"
    response = client.post(path, {"item": item_of(page), "choice": "left", "comment": "From outside"})
    assert (response.status_code, response["Location"]) == (303, path)
    vote = Vote.objects.get()
    assert (vote.link, vote.user, vote.rater) == (made, None, f"link:{made.pk}")
    assert AuditEntry.objects.get(act="review.vote").data["by"] == f"link {made.pk}"
    made.refresh_from_db()
    assert made.opened_at is not None
    assert not client.cookies


def test_a_guest_sees_the_queue_and_nothing_of_the_project(link, review, project):
    body = Client().get(link[1]).content.decode()
    assert review.name in body
    for hidden in (project.name, project.slug, "owner@example.com", "Olga", "/p/", "Tunesmith", "sign-in"):
        assert hidden not in body, hidden
    assert not words_of_the_models(review).search(body)


def test_the_secret_is_kept_as_a_hash_only(link):
    token = link[1].split("/")[2]
    assert len(token) >= 43
    assert token not in json.dumps(list(ReviewerLink.objects.values()), default=str)
    assert token not in json.dumps(list(AuditEntry.objects.values()), default=str)


def test_a_withdrawn_link_says_so_kindly_and_frees_the_case(link, actor, review):
    made, path = link
    Client().get(path)
    assert ReviewLock.objects.count() == 1
    revoke_reviewer(actor=actor, link=made)
    response = Client().get(path)
    assert response.status_code == 410
    assert "This link was withdrawn" in response.content.decode()
    assert Client().post(path, {"choice": "left", "item": "x"}).status_code == 410
    assert not ReviewLock.objects.exists()


def test_a_link_that_has_run_out_says_so_kindly(link):
    ReviewerLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    response = Client().get(link[1])
    assert response.status_code == 410
    assert "This link has run out" in response.content.decode()


def test_a_link_opens_no_other_review(link, actor, judged, review):
    other = opened(actor, judged, size=3, seed=8)
    foreign = other.items.first()
    response = Client().post(link[1], {"item": foreign.pk, "choice": "left"})
    assert "This review has no such case." in response.content.decode()
    assert not Vote.objects.exists()


@pytest.mark.parametrize("token", ["x", "x" * 43, "%00" * 20])
def test_a_guessed_link_is_a_page_that_does_not_exist(db, token):
    assert Client().get(f"/review/{token}/").status_code == 404
    assert open_link(token) is None


def test_a_guest_and_a_member_are_two_raters(link, actor, review, rita):
    review = Review.objects.get(pk=review.pk)
    Review.objects.filter(pk=review.pk).update(raters_per_item=2)
    review.refresh_from_db()
    prefer(review, rita, "tuned", times=6)
    prefer(review, guest(link[0]), "base", times=6)
    assert Vote.objects.values("rater").distinct().count() == 2


def test_the_owner_sees_the_link_once(go, client_for, owner, review):
    client = client_for(owner)
    shown = go(client, "review_invite", review.pk, data={"name": "Greta", "days": 3})
    url = re.search(r"http://testserver(/review/[\w-]+/)", shown.content.decode()).group(1)
    assert Client().get(url).status_code == 200
    assert url not in go(client, "review", review.pk).content.decode()


# --- programs


def call(method, path, key, body=None):
    return Client().generic(
        method, f"/api/v1{path}", json.dumps(body or {}), "application/json", HTTP_AUTHORIZATION=f"Bearer {key}"
    )


def test_a_program_runs_a_review_as_blind_as_people(api_key, judged):
    train, read = api_key("train"), api_key("read")
    made = call("POST", f"/evaluations/{judged.pk}/review", train, {"size": 3, "name": "By program"})
    assert made.status_code == 201
    review = Review.objects.get()
    secret, said = words_of_the_models(review), []
    for _ in range(3):
        offered = call("GET", f"/reviews/{review.pk}/next", train)
        assert set(offered.json()) == {"item", "messages", "left", "right", "draft", "held_until", "progress"}
        body = {"item": offered.json()["item"], "choice": "left"}
        said += [offered, call("POST", f"/reviews/{review.pk}/votes", train, body)]
    said += [call("GET", f"/reviews/{review.pk}/results", read), call("GET", f"/reviews/{review.pk}", read)]
    for response in said:
        assert response.status_code in {200, 201}, response.content
        assert not secret.search(response.content.decode().replace(judged.pk, ""))
    assert said[-2].json()["pairs"] is None
    closed = call("POST", f"/reviews/{review.pk}/close", train).json()
    assert closed["pairs"]["items"]["n"] == 3
    assert call("GET", f"/reviews/{review.pk}/results", read).json() == closed
    assert call("GET", "/reviews", read).json()["data"][0]["status"] == "closed"


def test_a_program_says_the_last_word_and_invites(api_key, actor, judged, rita, project, trainer):
    review = opened(actor, judged, size=1, raters_per_item=2)
    tom = rater(project, trainer)
    prefer(review, rita, "tuned")
    prefer(review, tom, "base")
    train = api_key("train")
    (split,) = call("GET", f"/reviews/{review.pk}/split", train).json()["data"]
    decided = call("POST", f"/reviews/{review.pk}/adjudicate", train, {"item": split["item"], "choice": "both_bad"})
    assert decided.json() == {"item": split["item"], "is_decided": True}
    assert call("POST", f"/reviews/{review.pk}/links", train, {"name": "Greta"}).status_code == 403
    made = call("POST", f"/reviews/{review.pk}/links", api_key("admin"), {"name": "Greta"}).json()
    assert Client().get(made["path"]).status_code == 200
    assert call("DELETE", f"/reviews/{review.pk}/links/{made['id']}", api_key("admin")).status_code == 204
    assert Client().get(made["path"]).status_code == 410


def test_the_side_that_a_program_sees_is_the_side_that_counts(api_key, actor, judged):
    from accounts_app.models import ApiKey
    from accounts_app.permissions import actor_from_key
    from evaluation_app.permissions import rater_of

    review, key = opened(actor, judged, size=6), api_key("train")
    mine = rater_of(actor_from_key(f"Bearer {key}", "review"))
    for _ in range(6):
        offered = call("GET", f"/reviews/{review.pk}/next", key).json()
        side = "left" if offered["left"].startswith("Payment") else "right"
        assert side == side_of(review, review.items.get(pk=offered["item"]), mine, "tuned")
        call("POST", f"/reviews/{review.pk}/votes", key, {"item": offered["item"], "choice": side})
    assert ApiKey.objects.count() == 1
    assert call("POST", f"/reviews/{review.pk}/close", key).json()["pairs"]["items"]["wins"] == 6
