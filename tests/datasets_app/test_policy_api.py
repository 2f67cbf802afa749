"""What the pages about personal data, cleaning, mending and duplicates do, over the API."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from accounts_app.operations import create_project
from datasets_app.models import Example
from datasets_app.operations.policy import set_pii_decisions
from tests.datasets_app.conftest import clause_lines

BASE = "/api/v1"


@pytest.fixture
def call(api_key):
    """``call("GET", "/data-policy", body)``: status and JSON, with a key of these scopes."""

    def make(method, path, body=None, scope="train"):
        client = Client(headers={"Authorization": f"Bearer {keys.setdefault(scope, api_key(scope))}"})
        data = json.dumps(body).encode() if body is not None else b""
        answer = client.generic(method, BASE + path, data, content_type="application/json")
        return answer.status_code, answer.json()

    keys: dict[str, str] = {}
    return make


@pytest.fixture
def mixed(dataset_from):
    """Thirty good rows; 31 and 32 contradict, 33 lacks a label, 34 to 36 spell one oddly, 37 holds an address."""
    rows = clause_lines(30)
    rows += [
        {"text": "Either side may end the lease with a month of notice.", "label": n}
        for n in ("Termination", "Payment")
    ]
    rows += [{"text": "A clause that nobody has labelled yet.", "label": ""}]
    rows += [{"text": f"Money comes late under clause {i * 17} of part {i}.", "label": "payment "} for i in range(3)]
    rows += [{"text": "Write to anna.berg@example.org about the deed &amp; the keys.", "label": "Payment"}]
    return dataset_from("mixed.jsonl", rows)


def test_the_policy_is_read_and_changed_in_parts(call):
    status, policy = call("GET", "/data-policy")
    assert (status, policy["pii"]["email"], policy["cleaning"], policy["decided"]) == (200, "mask", None, {})
    status, policy = call("PUT", "/data-policy", {"pii": {"email": "reject"}})
    assert (status, policy["pii"]["email"], policy["pii"]["card"]) == (200, "reject", "mask")
    assert policy["decided"]["email"]["by"].startswith("the key ")
    _, policy = call("PUT", "/data-policy", {"replacements": [{"find": "a", "replace": "b"}]})
    _, policy = call("PUT", "/data-policy", {"cleaning": ["nfc"]})
    assert (policy["cleaning"], len(policy["replacements"]), policy["pii"]["email"]) == (["nfc"], 1, "reject")


@pytest.mark.parametrize(
    "body",
    [
        {"pii": {"email": "burn"}},
        {"pii": {"shoes": "mask"}},
        {"cleaning": ["iron"]},
        {"colour": "red"},
        {"replacements": [{"find": "(", "is_regex": True}]},
        {"boilerplate": [""]},
    ],
)
def test_what_cannot_be_meant_is_422_with_a_sentence(call, body):
    status, answer = call("PUT", "/data-policy", body)
    assert status == 422
    assert answer["error"]["message"]


def test_a_key_that_only_reads_decides_nothing(call, mixed):
    assert call("PUT", "/data-policy", {"pii": {"email": "keep"}}, scope="read")[0] == 403
    assert (
        call("POST", f"/datasets/{mixed.pk}/mend", {"rows": [{"row": 33, "answer": "Payment"}]}, scope="read")[0] == 403
    )
    assert call("GET", f"/datasets/{mixed.pk}/groups?kind=near", scope="read")[0] == 200


def test_personal_data_is_counted_and_never_quoted(call, mixed, actor):
    set_pii_decisions(actor=actor, decisions={"email": "keep"})
    status, answer = call("GET", f"/datasets/{mixed.pk}/personal-data")
    mail = next(one for one in answer["data"] if one["kind"] == "email")
    assert (status, mail["rows"], mail["action"], mail["decided"]["by"]) == (200, 1, "keep", "Olga Owner")
    assert "anna.berg" not in json.dumps(answer)


def test_a_plan_is_tried_out_before_it_is_decided(call, mixed):
    status, answer = call("POST", f"/datasets/{mixed.pk}/cleaning/preview", {"cleaning": ["html_entities"]})
    assert (status, answer["changed"], answer["looked_at"]) == (200, 1, 37)
    assert answer["data"][0]["row"] == 37
    steps = call("GET", f"/datasets/{mixed.pk}/cleaning")[1]["data"]
    assert {step["name"] for step in steps if step["is_on"]} >= {"nfc", "whitespace"}


def test_rows_are_mended_one_by_one(call, mixed):
    rows = [{"row": 33, "answer": "Payment"}, {"row": 1, "answer": " "}]
    status, answer = call("POST", f"/datasets/{mixed.pk}/mend", {"rows": rows})
    assert status == 200
    assert [(one["row"], one["accepted"], one["field"]) for one in answer["data"]] == [
        (33, True, None),
        (1, False, "answer"),
    ]
    assert call("POST", f"/datasets/{mixed.pk}/mend", {"rows": []})[0] == 422


def test_a_contradiction_is_listed_settled_and_taken_back(call, mixed):
    status, answer = call("GET", f"/datasets/{mixed.pk}/groups?kind=contradiction")
    assert (status, [group["id"] for group in answer["data"]], answer["next_cursor"]) == (200, [31], None)
    path = f"/datasets/{mixed.pk}/groups/contradiction/31"
    status, group = call("POST", path, {"action": "keep", "rows": [31]})
    assert (status, [member["status"] for member in group["members"]]) == (200, ["accepted", "rejected"])
    assert call("GET", f"/datasets/{mixed.pk}/groups?kind=contradiction")[1]["data"] == []
    assert call("POST", path, {"action": "undo"})[1]["is_open"] is True
    assert call("POST", path, {"action": "keep", "rows": [1]})[0] == 422
    assert call("POST", f"/datasets/{mixed.pk}/groups/contradiction/2", {"action": "undo"})[0] == 404
    assert call("GET", f"/datasets/{mixed.pk}/groups?kind=odd")[0] == 422


def test_a_spelling_is_replaced_everywhere_and_back(call, mixed):
    found = call("GET", f"/datasets/{mixed.pk}/spellings")[1]["data"][0]["found"]
    assert call("POST", f"/datasets/{mixed.pk}/spellings", {"found": found})[1] == {"changed": 3, "done": True}
    assert Example.objects.filter(dataset=mixed, edited_label="Payment").count() == 3
    assert call("POST", f"/datasets/{mixed.pk}/spellings", {"found": found, "action": "undo"})[1]["changed"] == 3


def test_the_data_of_another_project_is_not_there(mixed, outsider, api_key):
    other = create_project(user=outsider, name="Other desk")
    client = Client(headers={"Authorization": f"Bearer {api_key('admin', of=other)}"})
    for path in ("personal-data", "cleaning", "groups?kind=near", "spellings"):
        assert client.get(f"{BASE}/datasets/{mixed.pk}/{path}").status_code == 404
    body = {"action": "keep_all"}
    sent = client.post(f"{BASE}/datasets/{mixed.pk}/groups/contradiction/31", body, content_type="application/json")
    assert sent.status_code == 404
