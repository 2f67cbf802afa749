import json

import pytest

from finetune_engine.errors import UserError
from finetune_engine.serve.openai_format import error_of, parse_chat_request, parse_completion_request

HELLO = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def test_a_full_chat_request_keeps_every_parameter():
    request = parse_chat_request(
        HELLO
        | {
            "temperature": 0,
            "top_p": 0.5,
            "n": 2,
            "stop": ["\n", "END"],
            "max_completion_tokens": 7,
            "seed": 3,
            "stream": True,
            "stream_options": {"include_usage": True},
            "logprobs": True,
            "top_logprobs": 4,
            "presence_penalty": 1,
            "frequency_penalty": -1,
            "logit_bias": {"5": -100},
            "user": "anna",
        }
    )
    assert (request.temperature, request.top_p, request.n, request.stop) == (0.0, 0.5, 2, ("\n", "END"))
    assert (request.max_tokens, request.seed, request.stream, request.include_usage) == (7, 3, True, True)
    assert (request.top_logprobs, request.presence_penalty, request.frequency_penalty) == (4, 1.0, -1.0)
    assert request.logit_bias == {5: -100.0}


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"store": True}, "store"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"user": 7}, "user"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"n": 1000}, "n"),
        ({"n": -1}, "n"),
        ({"temprature": 0.3}, "temprature"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"logit_bias": {"5": -(10**400)}}, "logit_bias"),
        ({"top_p": 0}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 99}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"colour": 1}}, "stream_options.colour"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logit_bias": {"word": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "call_1"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": "half \ud83d"}]}, "messages[0].content"),
        ({"stop": ["\udc00"]}, "stop[0]"),
        ({"stop": ["x" * 1001]}, "stop"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "name": "anna"}]}, "messages[0].name"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0]",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
            "messages[0].content[0]",
        ),
    ],
)
def test_what_would_not_be_honoured_is_refused_by_name(extra, param):
    with pytest.raises(UserError) as caught:
        parse_chat_request(HELLO | extra)
    assert caught.value.status == 400
    assert caught.value.field == param


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": None, "tool_choice": "none", "response_format": {"type": "text"}, "store": False},
        {"presence_penalty": 0, "logit_bias": None, "service_tier": "auto", "metadata": {"team": "legal"}},
        {"user": "anna", "safety_identifier": "b", "prompt_cache_key": "c", "parallel_tool_calls": True},
    ],
)
def test_parameters_that_ask_for_nothing_are_accepted(extra):
    assert parse_chat_request(HELLO | extra) == parse_chat_request(HELLO)


def test_text_parts_are_joined_and_developer_means_system():
    request = parse_chat_request(
        {
            "model": "m",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            ],
        }
    )
    assert request.message_dicts() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "ab"},
    ]


def test_a_reply_of_the_sdk_may_be_sent_back_as_a_message():
    echoed = {"role": "assistant", "content": "hi", "refusal": None, "tool_calls": None, "annotations": []}
    request = parse_chat_request(HELLO | {"messages": [*HELLO["messages"], echoed, HELLO["messages"][0]]})
    assert request.message_dicts()[1] == {"role": "assistant", "content": "hi"}


def test_a_plain_completion_writes_sixteen_tokens_unless_told_otherwise():
    assert parse_completion_request({"model": "m", "prompt": "once"}).max_tokens == 16
    assert parse_completion_request({"model": "m", "prompt": ["once"], "max_tokens": 3}).prompt == "once"


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a"] * 65}, "prompt"),
        ({"prompt": ["a"] * 9, "n": 8}, "prompt"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"logprobs": 6}, "logprobs"),
        ({"messages": []}, "messages"),
    ],
)
def test_plain_completions_refuse_what_they_cannot_do(extra, param):
    with pytest.raises(UserError) as caught:
        parse_completion_request({"model": "m", "prompt": "x"} | extra)
    assert caught.value.field == param


def test_several_texts_are_several_answers_each():
    request = parse_completion_request({"model": "m", "prompt": ["a", "b", "c"], "n": 2, "echo": True})
    assert request.prompts == ("a", "b", "c")
    assert (request.choice_count, request.echo) == (6, True)


def test_a_picture_is_refused_in_words():
    part = {"type": "image_url", "image_url": {"url": "data:..."}}
    with pytest.raises(UserError, match="is a picture; the models here read text only"):
        parse_chat_request(HELLO | {"messages": [{"role": "user", "content": [part]}]})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": json.loads("[" * 300 + "]" * 300)}, "tools"),
        ({"response_format": {"type": "json_schema", "json_schema": {"minimum": float("nan")}}}, None),
        ({"\ud800": 1}, None),
        ({"x" * 100_000: 1}, "x" * 64),
    ],
)
def test_hostile_bodies_are_refused_in_a_sentence_that_can_be_sent(body, param):
    with pytest.raises(UserError) as caught:
        parse_chat_request(HELLO | body)
    assert caught.value.status == 400
    assert param is None or caught.value.field == param
    assert len(json.dumps(error_of(caught.value)[1], ensure_ascii=False).encode()) < 1000


def test_more_tokens_than_the_model_has_are_refused_and_fewer_end_with_the_context():
    asking = parse_chat_request(HELLO | {"max_tokens": 10**9})
    with pytest.raises(UserError, match="at most 2048 tokens") as caught:
        asking.limit_within(2048, 10)
    assert caught.value.field == "max_tokens"
    assert parse_chat_request(HELLO | {"max_tokens": 2000}).limit_within(2048, 100) == 1948
    with pytest.raises(UserError) as full:
        parse_chat_request(HELLO).limit_within(2048, 2048)
    assert (full.value.code, full.value.field) == ("context_length_exceeded", "messages")


def test_what_changes_an_answer_changes_its_cache_key():
    plain = parse_chat_request(HELLO).parameters()
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    others = [
        {"tools": [tool]},
        {"tools": [tool], "tool_choice": "required"},
        {"tools": [tool], "parallel_tool_calls": False},
        {"tools": [{"type": "function", "function": {**tool["function"], "strict": True}}]},
        {"response_format": {"type": "json_object"}},
    ]
    seen = [json.dumps(plain)] + [json.dumps(parse_chat_request(HELLO | extra).parameters()) for extra in others]
    assert len(set(seen)) == len(seen)


def test_a_body_that_is_no_object_is_refused():
    with pytest.raises(UserError) as caught:
        parse_chat_request([1])
    assert caught.value.status == 400
