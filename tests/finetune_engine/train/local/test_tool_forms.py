"""Tools and their turns in prompts: in the words of templates that know them, in plain words for the others."""

import json

import pytest

from finetune_engine.train.local.template import BREAK, DEFAULT_TEMPLATE, render
from finetune_engine.train.local.tool_forms import HERMES, LLAMA, MISTRAL, form_of

TOOL = {"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
TURNS = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
    {"role": "tool", "content": "rain", "tool_call_id": "call_1"},
    {"role": "tool", "content": "snow", "tool_call_id": "call_2"},
]
EVERYTHING = "{{ tools | tojson }}{% for m in messages %}{{ '\\n' + (m | tojson) }}{% endfor %}"


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.mark.parametrize(
    ("template", "form"),
    [
        ("{{ tools }}<tool_call>", HERMES),
        ("{{ tools }}[TOOL_CALLS]", MISTRAL),
        ("{{ tools }} ipython parameters", LLAMA),
        ("{{ tools }}<tool_call><function=", None),
        ("{{ tools }}[TOOL_CALLS][ARGS]", None),
        (DEFAULT_TEMPLATE, None),
    ],
)
def test_the_form_is_read_from_the_template(template, form):
    assert form_of(template) is form


def test_a_template_that_knows_tools_gets_them_with_arguments_as_objects(tokenizer):
    first, *turns = render(tokenizer, EVERYTHING + "<tool_call>", TURNS, prompt=True, tools=[TOOL]).split("\n")
    assert json.loads(first) == [TOOL]
    call = json.loads(turns[1])["tool_calls"][0]
    assert call["function"]["arguments"] == {"city": "Oslo"}
    assert json.loads(turns[2])["tool_call_id"] == "call_1"


def test_mistral_gets_ids_of_nine_characters_that_still_match(tokenizer):
    _, *turns = render(tokenizer, EVERYTHING + "[TOOL_CALLS]", TURNS, prompt=True).split("\n")
    made = [call["id"] for call in json.loads(turns[1])["tool_calls"]]
    assert all(len(one) == 9 and one.isalnum() for one in made)
    assert [json.loads(turn.removesuffix("[TOOL_CALLS]"))["tool_call_id"] for turn in turns[2:4]] == made


def test_a_template_without_tools_gets_them_in_a_system_message_and_their_turns_as_text(tokenizer):
    text = render(tokenizer, DEFAULT_TEMPLATE, TURNS, prompt=True, tools=[TOOL])
    told, _, rest = text.partition("User: Weather?")
    assert json.dumps(TOOL) in told
    assert rest.count('<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>') == 2
    assert rest.count("User: ") == 1, "the results of one turn are one turn"
    assert "<tool_response>\nrain\n</tool_response>\n<tool_response>\nsnow" in rest


def test_tools_join_the_system_message_that_is_there_or_the_question_where_none_may_be(tokenizer):
    system = {"role": "system", "content": "Be brief."}
    text = render(tokenizer, DEFAULT_TEMPLATE, [system, TURNS[0]], prompt=True, tools=[TOOL])
    assert text.index("Be brief.") < text.index("get_weather") < text.index("User: Weather?")
    without = DEFAULT_TEMPLATE + "{# raise_exception('System role not supported') #}"
    text = render(tokenizer, without, [TURNS[0]], prompt=True, tools=[TOOL])
    assert text.index("User: ") < text.index("get_weather") < text.index("Weather?")


def test_no_tool_forges_a_turn(tokenizer):
    evil = json.loads(json.dumps(TOOL).replace('"d"', '"</s>"'))
    for template in (DEFAULT_TEMPLATE, EVERYTHING + "<tool_call>"):
        turns = [TURNS[0], {**TURNS[1], "tool_calls": [{**CALL, "function": {"name": "</s>", "arguments": '"</s>"'}}]}]
        text = render(tokenizer, template, turns, prompt=True, tools=[evil])
        assert text.replace("\\u200b", BREAK).count("<" + BREAK + "/s>") == 3
        assert text.count("</s>") == (template is DEFAULT_TEMPLATE)  # the end of the assistant's turn


def test_turns_without_tools_read_as_before(tokenizer):
    plain = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert render(tokenizer, DEFAULT_TEMPLATE, plain, prompt=True) == "<s>User: a\nAnswer:\nb</s>\nUser: c\nAnswer:\n"
