"""The review queue by API, as a team's own screen would use it."""

from __future__ import annotations

import pytest
from django.test import Client

from benchmarks.made_rows import MadeFinding, MadeRow, made_dataset
from datasets_app.models import Example, ReviewAct


@pytest.fixture
def dataset(project, owner):
    """Ten rows; 1, 4, 7 and 10 wait because they are almost row 2."""
    near = [MadeFinding("duplicate_near", "Almost row 2.", related_row=2)]
    rows = [
        MadeRow(
            f"What does clause {n} say?", f"That the party pays in month {n}.",
            status="needs_review" if n % 3 == 1 else "accepted", findings=near if n % 3 == 1 else [],
        )
        for n in range(1, 11)
    ]  # fmt: skip
    return made_dataset(project, owner, rows)


class Api:
    """Calls below the dataset's review address with one key."""

    def __init__(self, dataset, key):
        self.client = Client(headers={"Authorization": f"Bearer {key}"})
        self.base = f"/api/v1/datasets/{dataset.pk}/review/"

    def __call__(self, method, path, body=None, **query):
        call = getattr(self.client, method)
        if method == "get":
            return call(self.base + path, query)
        address = self.base + path + ("?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else "")
        return call(address, body or {}, content_type="application/json")


@pytest.fixture
def api(dataset, api_key):
    return Api(dataset, api_key("train"))


def row(dataset, number):
    return Example.objects.get(dataset=dataset, row=number)


def test_the_next_row_comes_with_its_reasons_and_is_held(api, owner):
    card = api("get", "next").json()
    assert (card["example"]["row"], card["reviewer"]) == (1, owner.email)
    assert card["example"]["findings"][0]["code"] == "duplicate_near"
    assert card["related"][0]["row"] == 2
    assert card["held_until"]


def test_two_reviewers_are_given_two_rows(api, reviewer, trainer):
    rows = [api("post", "next", {"reviewer": who.email}).json()["example"]["row"] for who in (reviewer, trainer)]
    assert rows == [1, 4]


def test_a_decision_carries_its_time_and_its_person(api, dataset, reviewer):
    api("post", "next", {"reviewer": reviewer.email})
    sent = api("post", "decisions", {"row": 1, "action": "reject", "lead_seconds": 3.5, "reviewer": reviewer.email})
    assert sent.json()["example"]["status"] == "rejected"
    act = ReviewAct.objects.get()
    assert (act.user, act.action, act.lead_seconds) == (reviewer, "reject", 3.5)


def test_a_row_held_by_somebody_else_is_409(api, reviewer, trainer):
    api("post", "next", {"reviewer": reviewer.email})
    sent = api("post", "decisions", {"row": 1, "action": "accept", "reviewer": trainer.email})
    assert sent.status_code == 409
    assert sent.json()["error"]["code"] == "row_held"


def test_an_edit_with_findings_is_saved_only_when_confirmed(api, dataset):
    edit = {"row": 1, "action": "edit", "answer": "Write to rosa@example.org about it."}
    first = api("post", "decisions", edit).json()
    assert (first["saved"], [note["code"] for note in first["notes"]]) == (False, ["pii"])
    assert row(dataset, 1).decision == ""
    assert api("post", "decisions", edit | {"confirmed": True}).json()["saved"] is True
    assert row(dataset, 1).edited_messages[-1]["content"] == "Write to rosa@example.org about it."


def test_an_edit_that_nobody_could_learn_from_is_422(api):
    sent = api("post", "decisions", {"row": 1, "action": "edit", "answer": " "})
    assert (sent.status_code, sent.json()["error"]["code"]) == (422, "empty_answer")


def test_undo_takes_the_last_act_back(api, dataset):
    api("post", "decisions", {"row": 1, "action": "reject"})
    undone = api("post", "undo").json()
    assert (undone["row"], undone["status"]) == (1, "needs_review")
    assert api("post", "undo").status_code == 409


def test_a_draft_is_kept_read_and_forgotten(api):
    messages = [{"role": "user", "content": "Half a"}]
    assert api("put", "drafts/1", {"messages": messages}).status_code == 200
    assert api("get", "drafts/1").json()["messages"] == messages
    assert api("get", "next").json()["draft"] == messages
    assert api("delete", "drafts/1").status_code == 204
    assert api("get", "drafts/1").status_code == 404


def test_a_lock_is_renewed_and_let_go(api, reviewer, trainer):
    api("post", "next", {"reviewer": reviewer.email})
    assert api("post", "locks/1", {"reviewer": reviewer.email}).json()["held"] is True
    assert api("post", "locks/1", {"reviewer": trainer.email}).json()["held"] is False
    assert api("delete", "locks/1", reviewer=reviewer.email).status_code == 204
    assert api("post", "locks/1", {"reviewer": trainer.email}).json()["held"] is True


def test_rows_are_given_to_people_and_taken_back(api, reviewer, trainer):
    given = api("post", "assignments", {"reviewers": [reviewer.email, trainer.email], "count": 3}).json()["data"]
    assert {share["reviewer"]: share["left"] for share in given} == {reviewer.email: 2, trainer.email: 1}
    card = api("get", "next", reviewer=trainer.email, assigned="me").json()
    assert card["example"]["row"] == 4
    left = {share["reviewer"]: share["left"] for share in api("get", "assignments").json()["data"]}
    assert left[reviewer.email] == 2
    assert api("post", "unassign", {"reviewer": reviewer.email}).json() == {"changed": 2}


def test_many_rows_are_decided_and_taken_back(api, dataset):
    act = api("post", "bulk", {"code": "duplicate_near", "action": "reject"}).json()
    assert (act["rows"], act["done"]) == (4, True)
    assert api("get", "bulk").json()["data"][0]["id"] == act["id"]
    assert api("post", f"bulk/{act['id']}/undo").json()["undone"] is True
    dataset.refresh_from_db()
    assert dataset.needs_review == 4
    assert api("post", f"bulk/{act['id']}/undo").status_code == 409


def test_a_decision_for_many_rows_needs_a_filter(api):
    sent = api("post", "bulk", {"action": "reject"})
    assert (sent.status_code, sent.json()["error"]["code"]) == (422, "missing_filter")


def test_mine_are_the_rows_given_to_the_maker_of_the_key_and_no_others(api, dataset, owner):
    api("post", "assignments", {"reviewers": [owner.email], "count": 1})
    act = api("post", "bulk", {"assigned": "me", "action": "reject"}).json()
    assert act["rows"] == 1
    assert Example.objects.filter(dataset=dataset, decision="reject").count() == 1


@pytest.mark.parametrize("blank", [{"q": "  "}, {"code": "\0"}])
def test_a_blank_filter_decides_on_no_row(api, dataset, blank):
    sent = api("post", "bulk", {"action": "reject"} | blank)
    assert (sent.status_code, sent.json()["error"]["code"]) == (422, "missing_filter")
    assert not Example.objects.filter(dataset=dataset).exclude(decision="").exists()


def test_progress_counts_rows_and_the_reviewers_own(api, reviewer):
    api("post", "decisions", {"row": 1, "action": "accept", "lead_seconds": 8, "reviewer": reviewer.email})
    progress = api("get", "progress", reviewer=reviewer.email).json()
    assert (progress["decided"], progress["waiting"], progress["total"]) == (1, 3, 4)
    assert (progress["mine_today"], progress["median_seconds"]) == (1, 8.0)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("post", "next", {"status": "odd"}, 422),
        ("post", "next", {"reviewer": "nobody@example.com"}, 422),
        ("post", "next", {"after": -1}, 422),
        ("post", "decisions", {"row": 99, "action": "accept"}, 404),
        ("post", "decisions", {"row": 99, "action": "skip"}, 404),
        ("post", "decisions", {"row": 2**40, "action": "accept"}, 422),
        ("post", "decisions", {"row": 1, "action": "burn"}, 422),
        ("post", "decisions", {"row": 1, "action": "edit"}, 422),
        ("post", "decisions", {"row": 1, "action": "edit", "messages": [{"role": "wizard"}]}, 422),
        ("put", "drafts/99", {"messages": []}, 404),
        ("put", "drafts/1", {"messages": [{"role": "user", "content": "x" * 200_001}]}, 422),
        ("put", "drafts/1", {"messages": [{"content": 7}, {"role": None, "content": ["a"]}]}, 200),
        ("post", "locks/99", {}, 404),
        ("post", "assignments", {"reviewers": [], "count": 3}, 422),
        ("post", "assignments", {"reviewers": ["nobody@example.com"], "count": 3}, 422),
        ("post", "bulk/99/undo", {}, 404),
        ("post", "bulk/99/burn", {}, 422),
    ],
)
def test_a_bad_call_is_an_answer_not_a_crash(api, method, path, body, status):
    assert api(method, path, body).status_code == status


def test_a_viewer_cannot_be_named_as_reviewer(api, viewer):
    assert api("post", "next", {"reviewer": viewer.email}).status_code == 422


def test_a_read_key_sees_the_progress_and_takes_no_row(dataset, api_key):
    api = Api(dataset, api_key("read"))
    assert api("get", "progress").status_code == 200
    assert api("get", "next").status_code == 403


def test_another_projects_key_finds_nothing(dataset, api_key, outsider):
    from accounts_app.models import Project

    theirs = Project.objects.exclude(pk=dataset.project_id).get()
    api = Api(dataset, api_key("admin", of=theirs))
    for method, path in (("get", "next"), ("post", "decisions"), ("get", "progress"), ("post", "bulk/1/undo")):
        assert api(method, path, {"row": 1, "action": "accept"}).status_code == 404, path
