"""The official ``openai`` package, unchanged, asks a real model through the whole site: what its types promise comes."""

from __future__ import annotations

import json
from typing import Literal

import openai
import pytest
from pydantic import BaseModel, Field

pytestmark = pytest.mark.django_db(transaction=True)
TURNS = [{"role": "user", "content": "The landlord"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"enum": ["Oslo", "Zürich"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 7},
            },
            "required": ["city", "days"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "get_time"}}


class Clause(BaseModel):
    kind: Literal["notice", "rent", "law"]
    months: int = Field(ge=0, le=12)
    parties: list[Literal["tenant", "landlord"]] = Field(max_length=2)
    is_binding: bool


@pytest.fixture
def client(site, api_key) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{site}/v1", api_key=api_key("predict"), max_retries=0, timeout=120)


@pytest.fixture
def create(deployed_base, inference, client):
    """``chat.completions.create`` of the deployed model, short and repeatable unless told otherwise."""

    def ask(**options):
        usual = {"model": "production", "messages": TURNS, "temperature": 0, "max_tokens": 12}
        return client.chat.completions.create(**(usual | options))

    return ask


def assert_forecast(call) -> None:
    assert call.id.startswith("call_")
    assert (call.type, call.function.name) == ("function", "get_weather")
    arguments = json.loads(call.function.arguments)
    assert arguments["city"] in ("Oslo", "Zürich")
    assert 1 <= arguments["days"] <= 7


def test_a_demanded_call_has_valid_arguments_and_its_result_goes_back(create) -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    answer = create(tools=[CLOCK, WEATHER], tool_choice=named, max_tokens=200)
    choice = answer.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert len(choice.message.tool_calls) == 1
    assert_forecast(choice.message.tool_calls[0])
    result = {"role": "tool", "tool_call_id": choice.message.tool_calls[0].id, "content": "rain"}
    after = create(messages=[*TURNS, choice.message, result], tools=[CLOCK, WEATHER])
    assert after.usage.prompt_tokens > answer.usage.prompt_tokens
    assert after.choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_a_streamed_call_comes_in_deltas_and_no_tag_in_the_text(create) -> None:
    chunks = list(
        create(tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, max_tokens=200, stream=True)
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ""
    pieces = [piece for chunk in chunks for piece in chunk.choices[0].delta.tool_calls or []]
    assert {piece.index for piece in pieces} == {0}
    assert pieces[0].id.startswith("call_")
    assert pieces[0].function.name == "get_weather"
    assert json.loads("".join(piece.function.arguments for piece in pieces))["city"] in ("Oslo", "Zürich")
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_the_packages_own_stream_helper_gathers_the_call(deployed_base, inference, client) -> None:
    strict = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
    with client.chat.completions.stream(
        model="production", messages=TURNS, tools=[strict], tool_choice="required", parallel_tool_calls=False, seed=3
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    assert_forecast(final.choices[0].message.tool_calls[0])


def test_an_answer_is_parsed_into_a_pydantic_model(deployed_base, inference, client) -> None:
    for seed in (1, 2):
        answer = client.chat.completions.parse(
            model="production", messages=TURNS, response_format=Clause, seed=seed, max_tokens=200
        )
        assert isinstance(answer.choices[0].message.parsed, Clause)
        assert answer.choices[0].finish_reason == "stop"


def test_json_that_the_limit_cuts_off_says_so(create, client) -> None:
    answer = create(response_format={"type": "json_object"}, max_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content.startswith("{")
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="production", messages=TURNS, response_format=Clause, max_tokens=3)


def test_n_seed_and_logprobs(create) -> None:
    wanted = {"n": 3, "seed": 5, "temperature": 1, "logprobs": True, "top_logprobs": 2, "max_tokens": 6}
    first, again = create(**wanted), create(**wanted)
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    assert len(set(texts)) > 1
    for choice in first.choices:
        assert "".join(token.token for token in choice.logprobs.content) == choice.message.content
        assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)
        assert all(token.top_logprobs[0].logprob <= 0 for token in choice.logprobs.content)


def test_a_stream_with_logprobs_usage_and_several_choices(create) -> None:
    chunks = list(
        create(stream=True, n=2, temperature=1, seed=1, logprobs=True, stream_options={"include_usage": True})
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == chunks[-1].usage.prompt_tokens + chunks[-1].usage.completion_tokens
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1}
    told = [
        token for chunk in chunks for choice in chunk.choices if choice.logprobs for token in choice.logprobs.content
    ]
    assert 0 < len(told) <= chunks[-1].usage.completion_tokens
    ends = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert len(ends) == 2


def test_a_stop_text_ends_the_answer_before_it(create) -> None:
    whole = create().choices[0].message.content
    stop = whole[5:8]
    cut = create(stop=[stop]).choices[0]
    assert (cut.message.content, cut.finish_reason) == (whole[: whole.index(stop)], "stop")


def test_what_asks_for_nothing_changes_nothing(create) -> None:
    plain = create(seed=1).choices[0].message.content
    neutral = create(
        seed=1,
        user="anna",
        metadata={"team": "legal"},
        store=False,
        tools=[WEATHER],
        tool_choice="none",
        max_tokens=None,
    )
    assert neutral.choices[0].message.content.startswith(plain)


def test_several_prompts_are_answered_in_their_order(deployed_base, inference, client) -> None:
    texts = ["The landlord", "The tenant pays", "Notice"]
    wanted = {"model": "production", "temperature": 0, "max_tokens": 6}
    alone = [client.completions.create(prompt=text, **wanted) for text in texts]
    together = client.completions.create(prompt=texts, echo=True, **wanted)
    assert [choice.index for choice in together.choices] == [0, 1, 2]
    assert [choice.text for choice in together.choices] == [
        text + answer.choices[0].text for text, answer in zip(texts, alone, strict=True)
    ]
    assert together.usage.prompt_tokens == sum(answer.usage.prompt_tokens for answer in alone)
    streamed = list(client.completions.create(prompt=texts, echo=True, stream=True, **wanted))
    for index, choice in enumerate(together.choices):
        mine = [c.text for chunk in streamed for c in chunk.choices if c.index == index]
        assert "".join(mine) == choice.text


def test_logprobs_of_a_plain_completion(deployed_base, inference, client) -> None:
    choice = client.completions.create(
        model="production", prompt="The landlord", max_tokens=5, temperature=0, logprobs=2
    ).choices[0]
    assert "".join(choice.logprobs.tokens) == choice.text
    assert len(choice.logprobs.token_logprobs) == len(choice.logprobs.text_offset) == len(choice.logprobs.tokens)
    assert all(len(top) <= 2 for top in choice.logprobs.top_logprobs)


def test_request_ids_are_on_answers_and_on_mistakes(create) -> None:
    answer = create()
    assert answer._request_id == answer.tunesmith["request_id"]
    with pytest.raises(openai.BadRequestError) as caught:
        create(temperature=9)
    assert caught.value.request_id
