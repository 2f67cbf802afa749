"""LiteLLM, unchanged, as people use it in front of any OpenAI-compatible server."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.django_db(transaction=True)
TURNS = [{"role": "user", "content": "The landlord"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "file_clause",
        "description": "Put a clause into a folder",
        "parameters": {"type": "object", "properties": {"folder": {"enum": ["rent", "law"]}}, "required": ["folder"]},
    },
}


@pytest.fixture
def litellm(monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would fetch prices from the network when imported
    import litellm

    return litellm


@pytest.fixture
def wanted(deployed_base, inference, site, api_key):
    """What every call says."""
    return {
        "model": "openai/production",
        "api_base": f"{site}/v1",
        "api_key": api_key("predict"),
        "messages": TURNS,
        "temperature": 0,
        "max_tokens": 10,
        "num_retries": 0,
    }


def test_whole_answers_and_streams_say_the_same(litellm, wanted) -> None:
    whole = litellm.completion(**wanted)
    assert whole.choices[0].message.content
    assert whole.usage.completion_tokens <= 10
    chunks = list(litellm.completion(**wanted, seed=1, stream=True, stream_options={"include_usage": True}))
    told = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert told == whole.choices[0].message.content
    rebuilt = litellm.stream_chunk_builder(chunks, messages=TURNS)
    assert rebuilt.usage.completion_tokens == whole.usage.completion_tokens


def test_tools_and_json_come_through(litellm, wanted) -> None:
    named = {"type": "function", "function": {"name": "file_clause"}}
    called = litellm.completion(**wanted | {"tools": [TOOL], "tool_choice": named, "max_tokens": 100})
    assert called.choices[0].finish_reason == "tool_calls"
    arguments = json.loads(called.choices[0].message.tool_calls[0].function.arguments)
    assert arguments["folder"] in ("rent", "law")
    form = {"type": "json_schema", "json_schema": {"name": "folder", "schema": TOOL["function"]["parameters"]}}
    answer = litellm.completion(**wanted | {"response_format": form, "max_tokens": 60})
    assert json.loads(answer.choices[0].message.content)["folder"] in ("rent", "law")


def test_mistakes_are_its_own_exceptions(litellm, wanted) -> None:
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(**wanted | {"api_key": "tsk_wrong"})
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(**wanted | {"temperature": 9})
