"""The official OpenAI package against the gateway."""

from __future__ import annotations

import openai
import pytest

pytestmark = pytest.mark.django_db(transaction=True)
TURNS = [{"role": "user", "content": "The landlord"}]


@pytest.fixture
def client(site, api_key) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{site}/v1", api_key=api_key("predict"), max_retries=0, timeout=120)


def test_chat_whole_and_streamed_say_the_same(deployed_base, inference, client) -> None:
    whole = client.chat.completions.create(model="production", messages=TURNS, temperature=0, max_tokens=10, seed=1)
    assert whole.model == "demo-base"
    assert whole.usage.completion_tokens <= 10
    stream = client.chat.completions.create(
        model="production", messages=TURNS, temperature=0, max_tokens=10, seed=2, stream=True
    )
    chunks = list(stream)
    assert all(chunk.choices for chunk in chunks), "no chunk without choices unless usage was asked for"
    assert {chunk.model for chunk in chunks} == {"demo-base"}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].tunesmith["cached"] is False


def test_a_stream_from_the_cache_is_the_same_stream(deployed_base, inference, client) -> None:
    wanted = {"model": "demo-base", "messages": TURNS, "temperature": 0, "max_tokens": 8, "stream": True}
    told = [list(client.chat.completions.create(**wanted, stream_options={"include_usage": True})) for _ in range(2)]
    texts = ["".join(c.choices[0].delta.content or "" for c in chunks if c.choices) for chunks in told]
    assert texts[0] == texts[1] != ""
    assert [chunks[-1].usage.completion_tokens for chunks in told] == [told[0][-1].usage.completion_tokens] * 2
    assert [chunks[-1].tunesmith["cached"] for chunks in told] == [False, True]


def test_plain_completions_and_logprobs(deployed_base, inference, client) -> None:
    answer = client.completions.create(model="production", prompt="The landlord", max_tokens=4, temperature=0)
    assert answer.choices[0].text
    chat = client.chat.completions.create(
        model="production", messages=TURNS, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2
    )
    assert (
        len(chat.choices[0].logprobs.content) == chat.usage.completion_tokens or chat.choices[0].finish_reason == "stop"
    )


def test_streams_are_logged_with_their_usage(deployed_base, inference, client) -> None:
    from serving_app.gateway.database import prediction_log
    from serving_app.models import Prediction

    chunks = list(client.chat.completions.create(model="production", messages=TURNS, max_tokens=5, stream=True))
    assert prediction_log.flush()
    row = Prediction.objects.get()
    assert row.request_id == chunks[-1].tunesmith["request_id"]
    assert row.output == "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert row.completion_tokens <= 5
    assert row.first_token_seconds is not None
    assert row.door == "chat"


def test_each_refusal_is_the_packages_own_exception(deployed_base, client, site, api_key) -> None:
    create = client.chat.completions.create
    with pytest.raises(openai.BadRequestError) as bad:
        create(model="production", messages=TURNS, temperature=7)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.NotFoundError):
        create(model="gpt-99", messages=TURNS)
    with pytest.raises(openai.InternalServerError) as away:  # 503: no model server runs
        create(model="production", messages=TURNS)
    assert away.value.status_code == 503
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{site}/v1", api_key="tsk_wrong", max_retries=0).chat.completions.create(
            model="production", messages=TURNS
        )
    with pytest.raises(openai.PermissionDeniedError):
        openai.OpenAI(base_url=f"{site}/v1", api_key=api_key("read"), max_retries=0).chat.completions.create(
            model="production", messages=TURNS
        )


def test_a_flood_from_one_project_is_429_with_the_time_to_wait(deployed_base, inference, ask, monkeypatch) -> None:
    from serving_app.gateway.admission import admission

    monkeypatch.setattr(admission, "per_project", 0)
    response = ask("/v1/chat/completions", {"messages": TURNS})
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "1"
    assert response.json()["error"]["type"] == "rate_limit_error"
