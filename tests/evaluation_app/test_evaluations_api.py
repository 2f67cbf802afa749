"""``/api/v1/evaluations``: what programs may ask, and what they get."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.django_db


@pytest.fixture
def call(client, api_key):
    """``call(path, body=None, scope="train")``: the answer of the API."""

    def ask(path="", body=None, scope="train"):
        headers = {"Authorization": f"Bearer {api_key(scope)}"}
        where = f"/api/v1/evaluations{path}"
        if body is None:
            return client.get(where, headers=headers)
        return client.post(where, body, content_type="application/json", headers=headers)

    return ask


def test_all_kinds_of_models_can_be_named(call, trained_model, connection) -> None:
    made = call(
        body={
            "models": [
                "demo-base",
                trained_model.api_name,
                {"prompt": {"system": "Name it.", "shots": 2}},
                {"connection": "Elsewhere", "model": "their-model", "name": "Theirs"},
            ],
            "suites": ["robustness"],
            "limit": 5,
            "weights": {"quality": 0.7, "robustness": 0.3},
            "cost_approved": True,
        }
    )
    assert made.status_code == 202, made.content
    told = [(one["key"], one["kind"], one["is_subject"]) for one in made.json()["models"]]
    assert told == [
        ("base", "base", False), ("tuned", "trained", True), ("model_2", "prompted", False), ("model_3", "endpoint", False),
    ]  # fmt: skip
    assert made.json()["suites"] == ["quality", "robustness"]


@pytest.mark.parametrize(
    ("models", "status", "code"),
    [
        ([], 422, "one_model"),
        (["demo-base"], 422, "one_model"),
        (["nonsense"], 404, "model_not_found"),
        ([{"trained_model": "nonsense"}], 404, "model_not_found"),
        ([{}], 422, "bad_model"),
        ([{"prompt": {"shots": 2}, "base_model": "demo-base"}], 422, "bad_model"),
        ([{"connection": "nowhere", "model": "x"}], 404, "connection_not_found"),
    ],
)
def test_models_that_cannot_be_meant_are_refused(call, trained_model, models, status, code) -> None:
    answer = call(body={"models": models})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_money_needs_a_yes(call, trained_model, connection) -> None:
    body = {"models": [trained_model.api_name, {"connection": connection.pk, "model": "their-model"}]}
    answer = call(body=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "cost_not_approved")
    assert call(body=body | {"cost_approved": True}).status_code == 202


def test_every_score_has_its_range_and_number_of_cases(call, done) -> None:
    body = call(f"/{done.pk}", scope="read").json()
    score = body["scores"]["tuned"]["accuracy"]
    assert score == {
        "value": 0.825, "ci_low": 0.68, "ci_high": 0.91, "n": 40, "higher_is_better": True, "signature": "x",
    }  # fmt: skip
    assert body["scores"]["tfidf"]["accuracy"]["value"] == 0.6
    assert body["headline"] == {
        "metric": "accuracy", "value": 0.825, "ci_low": 0.68, "ci_high": 0.91, "n": 40, "higher_is_better": True,
    }  # fmt: skip


def test_the_address_of_a_connection_and_its_key_are_not_told(call, trained_model, connection) -> None:
    body = {"models": [trained_model.api_name, {"connection": connection.pk, "model": "m"}], "cost_approved": True}
    made = call(body=body).json()
    text = call(f"/{made['id']}", scope="read").content.decode()
    assert "models.example.com" not in text
    assert "sk-elsewhere" not in text


def test_it_can_be_run_again(call, done) -> None:
    again = call(f"/{done.pk}/repeat", body={})
    assert again.status_code == 202
    assert again.json()["repeated_from"] == done.pk
    assert call("/nonsense/repeat", body={}).status_code == 404


def test_a_key_for_reading_starts_nothing(call, done, trained_model) -> None:
    assert call(body={"models": [trained_model.api_name]}, scope="read").status_code == 403
    assert call(f"/{done.pk}/repeat", body={}, scope="read").status_code == 403


def test_another_projects_evaluation_is_like_a_missing_one(client, api_key, outsider, done) -> None:
    headers = {"Authorization": f"Bearer {api_key('train', of=outsider.memberships.get().project)}"}
    for path in ("", "/samples", "/samples.csv"):
        assert client.get(f"/api/v1/evaluations/{done.pk}{path}", headers=headers).status_code == 404
    where = f"/api/v1/evaluations/{done.pk}/repeat"
    assert client.post(where, {}, content_type="application/json", headers=headers).status_code == 404


def test_the_list_takes_few_queries_however_long_it_is(
    client, api_key, done, actor, django_assert_max_num_queries
) -> None:
    from evaluation_app.operations import repeat_evaluation

    for _ in range(3):
        repeat_evaluation(actor=actor, evaluation=done)
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    client.get("/api/v1/evaluations", headers=headers)
    with django_assert_max_num_queries(4):
        assert len(client.get("/api/v1/evaluations", headers=headers).json()["data"]) == 4


def test_the_model_of_the_verdict_is_a_trained_one(call, trained_model) -> None:
    answer = call(body={"trained_model": "demo-base", "models": [trained_model.api_name]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_a_long_list_of_models_is_not_looked_up(call, trained_model) -> None:
    answer = call(body={"models": [trained_model.api_name] * 51})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "too_many_models")


def test_texts_that_no_database_keeps_are_marked(call, trained_model, connection) -> None:
    made = call(
        body={
            "models": [
                trained_model.api_name,
                {"prompt": {"system": "a\0b\ud800"}, "name": "c\0"},
            ],
            "judge": {"connection": connection.pk, "model": "judge", "rubric": "d\0\udfff"},
            "cost_approved": True,
        }
    )
    assert made.status_code == 202, made.content
    prompted = made.json()["models"][2]
    assert (prompted["prompt"]["system"], prompted["name"]) == ("a\u2400b?", "c\u2400")
