"""``/predict`` over real HTTP, answered by a real model in its own process."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_question_is_answered_and_logged(deployed_base, inference, ask) -> None:
    from serving_app.gateway.database import prediction_log
    from serving_app.models import Prediction

    response = ask("/predict", {"text": "This agreement ends on", "max_tokens": 8, "temperature": 0})
    assert response.status_code == 200, response.text
    body = response.json()
    assert set(body) == {"prediction", "model", "confidence", "needs_human", "latency", "cached", "request_id"}
    assert body["model"] == "demo-base"
    assert body["cached"] is False
    assert 0 < body["confidence"] <= 1
    assert body["latency"] > 0
    assert prediction_log.flush()
    row = Prediction.objects.get(request_id=body["request_id"])
    assert row.output == body["prediction"]
    assert row.deployment_id == deployed_base.pk
    assert row.input == {"messages": [{"role": "user", "content": "This agreement ends on"}]}
    assert (row.status, row.door, row.api_key.scopes) == (200, "predict", ["predict"])
    assert 0 < row.completion_tokens <= 8


def test_the_same_greedy_question_comes_from_the_cache_the_second_time(deployed_base, inference, ask) -> None:
    question = {"text": "The tenant pays", "max_tokens": 6, "temperature": 0}
    first, second = ask("/predict", question).json(), ask("/predict", question).json()
    assert [first["cached"], second["cached"]] == [False, True]
    assert second["prediction"] == first["prediction"]
    assert second["confidence"] == first["confidence"]
    assert second["request_id"] != first["request_id"]
    assert ask("/predict", question | {"max_tokens": 5}).json()["cached"] is False
    warm = question | {"temperature": 0.5}
    assert [ask("/predict", warm).json()["cached"] for _ in range(2)] == [False, False]


def test_a_cached_answer_is_never_shown_to_another_project(deployed_base, inference, ask, outsider, api_key) -> None:
    from accounts_app.models import Project

    other = api_key("predict", of=Project.objects.get(memberships__user=outsider))
    question = {"text": "The tenant pays", "max_tokens": 6, "temperature": 0, "model": "demo-base"}
    assert ask("/predict", question).json()["cached"] is False
    assert ask("/predict", question, key=other).json()["cached"] is False
    assert ask("/predict", question, key=other).json()["cached"] is True


def test_without_a_model_server_the_caller_is_told_to_come_back(deployed_base, ask) -> None:
    response = ask("/predict", {"text": "Hello"})
    assert response.status_code == 503
    assert response.json()["error"]["message"] == "The model server is starting; try again in a few seconds."
    assert int(response.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"text": ""}, "text"),
        ({"text": 7}, "text"),
        ({"text": "x", "temperature": 9}, "temperature"),
        ({"text": "x", "max_tokens": 0}, "max_tokens"),
        ({"text": "x", "model": 5}, "model"),
        ({"text": "x", "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_call_is_422_and_names_the_field(deployed_base, ask, body, field) -> None:
    response = ask("/predict", body)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == field


def test_a_body_that_is_not_json_is_422(deployed_base, ask, site, api_key) -> None:
    import httpx

    headers = {"Authorization": f"Bearer {api_key('predict')}"}
    response = httpx.post(f"{site}/predict", content=b"{not json", headers=headers)
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "invalid_json"


def test_a_body_that_is_too_large_is_413(deployed_base, ask) -> None:
    assert ask("/predict", {"text": "x" * (5 * 2**20)}).status_code == 413


def test_a_billion_tokens_are_the_models_to_refuse_and_the_caller_hears_it(deployed_base, inference, ask) -> None:
    body = {"model": "production", "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 10**9}
    answer = ask("/v1/chat/completions", body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "max_tokens"), answer.text


def test_who_may_not_ask_is_refused_before_what_they_ask_is_looked_at(deployed_base, ask, api_key) -> None:
    assert ask("/predict", {"colour": "red"}, key="").status_code == 401
    assert ask("/predict", {"text": "x"}, key="tsk_nobody").status_code == 401
    refused = ask("/predict", {"text": "x"}, key=api_key("read", "train"))
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "insufficient_scope"


def test_a_revoked_key_stops_at_once(deployed_base, inference, ask, actor, api_key) -> None:
    from accounts_app.models import ApiKey
    from accounts_app.operations import revoke_api_key
    from accounts_app.permissions import hash_of_key

    key = api_key("predict")
    question = {"text": "Hello", "max_tokens": 2, "temperature": 0}
    assert ask("/predict", question, key=key).status_code == 200
    revoke_api_key(actor=actor, key=ApiKey.objects.get(sha256=hash_of_key(key)))
    assert ask("/predict", question, key=key).status_code == 401


def test_another_projects_model_is_like_a_missing_one(deployed_base, ask, trained, outsider) -> None:
    from accounts_app.models import Project

    theirs = trained("Secret", of=Project.objects.get(memberships__user=outsider))
    responses = [ask("/predict", {"text": "x", "model": name}) for name in (theirs.api_name, "ft:demo-base:no:no:no")]
    assert [response.status_code for response in responses] == [404, 404]
    shapes = [
        json.loads(r.text.replace(theirs.api_name, "NAME").replace("ft:demo-base:no:no:no", "NAME")) for r in responses
    ]
    assert shapes[0] == shapes[1]


def test_nothing_deployed_is_404_with_the_way_out(ask, transactional_db) -> None:
    response = ask("/predict", {"text": "x"})
    assert response.status_code == 404
    assert "Deploy one" in response.json()["error"]["message"]


def test_other_methods_are_refused_in_json(ask, site) -> None:
    import httpx

    response = httpx.get(f"{site}/predict")
    assert response.status_code == 405
    assert response.json()["error"]["code"] == "method_not_allowed"
