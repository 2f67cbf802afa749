"""Tools, results of tools and forms of answers in a request."""

import pytest

from finetune_engine.errors import UserError
from finetune_engine.serve.openai_format import parse_chat_request

HELLO = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}


def parse(**extra):
    return parse_chat_request(HELLO | extra)


def test_tools_may_be_called_unless_the_choice_says_otherwise():
    free = parse(tools=[WEATHER])
    assert (free.tools[0].name, free.must_call, free.parallel_tool_calls) == ("get_weather", False, True)
    assert parse(tools=[WEATHER], tool_choice="auto") == free
    assert parse(tools=[WEATHER], tool_choice="none").tools == ()
    assert parse(tools=[WEATHER], tool_choice="required").must_call
    named = parse(tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "get_weather"}})
    assert (named.must_call, named.tool_name) == (True, "get_weather")
    assert not parse(tools=[WEATHER], parallel_tool_calls=False).parallel_tool_calls


def test_a_function_without_parameters_takes_an_empty_object():
    bare = parse(tools=[{"type": "function", "function": {"name": "now"}}]).tools[0]
    assert bare.parameters == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"tools": "all"}, "tools"),
        ({"tools": [WEATHER] * 2}, "tools"),
        ({"tools": [WEATHER] * 129}, "tools"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": "get weather"}}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": "f", "colour": 1}}]}, "tools[0].function.colour"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]},
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": "always"}, "tool_choice"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "get_time"}}},
            "tool_choice",
        ),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format.json_schema.schema",
        ),
        (
            {"messages": [*HELLO["messages"], {"role": "assistant", "tool_calls": [{"id": 1}]}]},
            "messages[1].tool_calls[0]",
        ),
    ],
)
def test_mistakes_in_tools_and_forms_are_named(extra, param):
    with pytest.raises(UserError) as caught:
        parse(**extra)
    assert (caught.value.status, caught.value.field) == (400, param)


def test_a_call_and_its_result_are_part_of_the_conversation():
    turns = [
        *HELLO["messages"],
        {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    assert parse(messages=turns).message_dicts() == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "rain", "tool_call_id": "call_1"},
    ]


def test_the_schema_of_an_answer_is_taken_with_or_without_strict():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    for strict in ({}, {"strict": True}, {"strict": False}):
        wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **strict}}
        assert parse(response_format=wanted).answer_schema.schema == schema
    assert parse(response_format={"type": "json_object"}).answer_schema.schema == {"type": "object"}
    assert parse(response_format={"type": "text"}).answer_schema is None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {f"p{number}": {} for number in range(1001)}},
        {"enum": list(range(5001))},
        {"type": "integer", "multipleOf": 999_983},
        {"type": "number", "multipleOf": 0.12345},
        {"allOf": [{"multipleOf": 997}, {"multipleOf": 991}]},
    ],
)
def test_a_schema_that_would_hold_up_everybody_is_refused(schema):
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    with pytest.raises(UserError, match="too large a schema") as caught:
        parse(response_format=wanted)
    assert caught.value.field == "response_format.json_schema.schema"


def test_ordinary_multiples_are_no_trouble():
    schema = {"type": "object", "properties": {"price": {"multipleOf": 0.01}, "steps": {"multipleOf": 1_000_000}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    assert parse(response_format=wanted).answer_schema
