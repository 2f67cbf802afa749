"""Mistakes and hostile requests: the official package raises its own exceptions, and the next caller is served."""

from __future__ import annotations

import json

import httpx
import openai
import pytest

pytestmark = pytest.mark.django_db(transaction=True)
TURNS = [{"role": "user", "content": "The landlord"}]
PICTURE = [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
BROKEN_SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "a", "schema": {"type": "object", "properties": {"a": {"type": "text"}}}},
}


@pytest.fixture
def client(site, api_key) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{site}/v1", api_key=api_key("predict"), max_retries=0, timeout=120)


def test_what_cannot_be_done_is_refused_by_its_name(deployed_base, inference, client) -> None:
    wrong = [
        ({"messages": [{"role": "user", "content": PICTURE}]}, "messages[0].content[0]"),
        ({"n": 1000}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 10**9}, "max_tokens"),
        ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "tools[0].function"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": BROKEN_SCHEMA}, "response_format"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"store": True}, "store"),
        ({"extra_body": {"best_temperature": 1}}, "best_temperature"),
    ]
    for extra, param in wrong:
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**({"model": "production", "messages": TURNS} | extra))
        assert caught.value.param == param, extra
        assert caught.value.type == "invalid_request_error"
        assert len(caught.value.message) > 20
    for extra, param in (({"suffix": "x"}, "suffix"), ({"best_of": 3}, "best_of")):
        with pytest.raises(openai.BadRequestError) as caught:
            client.completions.create(model="production", prompt="x", **extra)
        assert caught.value.param == param


def test_every_status_is_the_packages_own_exception(
    deployed_base, inference, client, site, api_key, monkeypatch
) -> None:
    def asked_by(key: str) -> None:
        other = openai.OpenAI(base_url=f"{site}/v1", api_key=key, max_retries=0)
        other.chat.completions.create(model="production", messages=TURNS)

    with pytest.raises(openai.AuthenticationError):
        asked_by("tsk_wrong")
    with pytest.raises(openai.PermissionDeniedError):
        asked_by(api_key("read"))
    with pytest.raises(openai.NotFoundError) as away:
        client.chat.completions.create(model="gpt-99", messages=TURNS)
    assert away.value.code == "model_not_found"
    simple = openai.OpenAI(base_url=site, api_key=client.api_key, max_retries=0)
    with pytest.raises(openai.UnprocessableEntityError):
        simple.post("/predict", body={"text": ""}, cast_to=object)
    from serving_app.gateway.admission import admission

    monkeypatch.setattr(admission, "per_project", 0)
    with pytest.raises(openai.RateLimitError) as full:
        client.chat.completions.create(model="production", messages=TURNS)
    assert int(full.value.response.headers["retry-after"]) >= 1


def test_bodies_that_no_client_would_send_are_400_and_disturb_nobody(deployed_base, inference, client, site) -> None:
    turns = json.dumps(TURNS)
    bodies = [
        f'{{"model": "production", "messages": {turns}, "temperature": NaN}}',
        f'{{"model": "production", "messages": {turns}, "top_p": -Infinity}}',
        f'{{"model": "production", "messages": {turns}, "max_tokens": {"9" * 400}}}',
        f'{{"model": "production", "messages": {turns}, "tools": {"[" * 900}{"]" * 900}}}',
        f'{{"model": "production", "messages": {turns}, "tools": {"[" * 200_000}}}',
        '{"model": "production", "messages": [{"role": "user", "content": "half \\ud83d"}]}',
        f'{{"model": "\\ud800", "messages": {turns}}}',
        f'{{"\\udfff": 1, "model": "production", "messages": {turns}}}',
        f'{{"model": "production", "messages": {turns}, "stop": ["\\ud800"]}}',
        "[]",
        '"text"',
        "{",
        "",
    ]
    for body in bodies:
        response = httpx.post(
            f"{site}/v1/chat/completions",
            content=body.encode(),
            headers={"Authorization": f"Bearer {client.api_key}", "Content-Type": "application/json"},
            timeout=60,
        )
        assert response.status_code == 400, body[:200]
        assert response.json()["error"]["message"]
    assert client.chat.completions.create(model="production", messages=TURNS, max_tokens=2).usage.completion_tokens <= 2
