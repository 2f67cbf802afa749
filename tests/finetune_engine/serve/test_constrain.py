"""Constrained answers of a model that knows nothing: whatever it would like to say, valid JSON comes out."""

import json
import random
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError
from finetune_engine.serve.answer_reader import reader_of, shown_tokens
from finetune_engine.serve.constrain import constraint_of
from finetune_engine.serve.exchange import AnswerSchema, CompletionRequest, Delta, Message, Tool
from finetune_engine.serve.openai_format import gather
from finetune_engine.serve.openai_format.schemas import MAX_PROPERTIES
from finetune_engine.train.local.load import load_base

MODELS = Path("/work/shared/data/models")
CITY = {
    "type": "object",
    "properties": {"city": {"$ref": "#/$defs/place"}, "days": {"type": "integer", "minimum": 1, "maximum": 5}},
    "required": ["city", "days"],
    "$defs": {"place": {"enum": ["Oslo", "Zürich"]}},
}
WEATHER = Tool("get_weather", "", CITY, strict=True)
CLOCK = Tool("get_time", "", {"type": "object", "properties": {"utc": {"type": "boolean"}}, "required": ["utc"]})
SCHEMAS = {
    "nested": {
        "type": "object",
        "properties": {
            "where": CITY["$defs"]["place"],
            "when": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3},
            "note": {"type": ["string", "null"], "maxLength": 6},
        },
        "required": ["where", "when", "note"],
    },
    "choice": {"anyOf": [{"const": "yes"}, {"type": "object", "properties": {"no": {"type": "boolean"}}}]},
    "reference": CITY,
}
JOINED = {
    "allOf": [
        {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]},
        {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]},
    ]
}
HERMES = "{{ tools }}<tool_call>"
MISTRAL = "{{ tools }}[TOOL_CALLS]"
LLAMA = "{{ tools }} ipython parameters"


@pytest.fixture(scope="module")
def loaded(tiny_model):
    return load_base(BaseModelRef(key="tiny", path=str(tiny_model)))


def asking(**extra):
    return CompletionRequest(model="m", messages=(Message("user", "x"),), **extra)


def written(constraint, loaded, seed, limit=400):
    """What somebody writes who picks among the allowed tokens at random; ids without the end token."""
    chance, ids = random.Random(seed), []
    while not constraint.is_complete and len(ids) < limit:
        allowed = np.flatnonzero(constraint.mask())
        assert len(allowed)
        token = int(chance.choice(allowed))
        constraint.take(token)
        if token in loaded.eos_token_ids:
            return ids
        ids.append(token)
    return ids


def is_instance(value, schema):
    return jsonschema.Draft202012Validator(schema).is_valid(value)


def text_of(loaded, ids):
    return loaded.tokenizer.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("name", ["nested", "choice", "reference"])
@pytest.mark.parametrize("seed", range(5))
def test_every_answer_is_an_instance_of_the_schema(loaded, name, seed):
    schema = SCHEMAS[name]
    ids = written(constraint_of(asking(answer_schema=AnswerSchema(schema)), loaded), loaded, seed)
    assert is_instance(json.loads(text_of(loaded, ids)), schema)


def test_a_sentencepiece_vocabulary_with_byte_fallback_will_do():
    stories = MODELS / "stories260K"
    if not stories.exists():
        pytest.skip("the model lies only on the machines where this is developed")
    small = load_base(BaseModelRef(key="stories", path=str(stories)))
    for seed in range(5):
        ids = written(constraint_of(asking(answer_schema=AnswerSchema(CITY)), small), small, seed)
        assert is_instance(json.loads(small.tokenizer.decode(ids)), CITY)


def test_a_vocabulary_that_lacks_bytes_is_refused(loaded):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {"</s>": 0, **{letter: number for number, letter in enumerate('abc{}":, ', start=1)}}
    poor = Tokenizer(models.BPE(vocab=letters, merges=[]))
    poor.pre_tokenizer, poor.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=poor, eos_token="</s>")
    with pytest.raises(UserError, match="cannot write every character") as caught:
        constraint_of(asking(answer_schema=AnswerSchema(CITY)), replace(loaded, tokenizer=tokenizer))
    assert caught.value.status == 400


@pytest.mark.parametrize("template", [HERMES, MISTRAL, LLAMA, "no tools"])
@pytest.mark.parametrize("choice", [{}, {"tool_name": "get_time"}, {"parallel_tool_calls": False}])
def test_who_must_call_calls_with_valid_arguments(loaded, template, choice):
    model = replace(loaded, chat_template=template)
    request = asking(tools=(WEATHER, CLOCK), must_call=True, **choice)
    schemas = {tool.name: tool.parameters for tool in request.tools}
    for seed in range(4):
        text = text_of(loaded, written(constraint_of(request, model), loaded, seed, limit=3000))
        reply = gather(request, [reader_of(request, model, []).read(Delta(0, text, (), "stop"))]).choices[0]
        assert reply.tool_calls
        assert (reply.text, reply.finish_reason) == ("", "tool_calls")
        for call in reply.tool_calls:
            assert is_instance(json.loads(call.arguments), schemas[call.name])
        if choice:
            assert len(reply.tool_calls) == 1
        if "tool_name" in choice:
            assert reply.tool_calls[0].name == "get_time"


def accepts(constraint, loaded, text):
    """Whether the text may be written, up to its end."""
    for token in loaded.tokenizer(text, add_special_tokens=False)["input_ids"]:
        if not constraint.mask()[token]:
            return False
        constraint.take(token)
    return bool(constraint.is_complete or constraint.mask()[loaded.eos_token_id])


def test_a_strict_function_may_be_left_alone_but_not_be_called_wrongly(loaded):
    model = replace(loaded, chat_template=HERMES)
    block = '<tool_call>\n{{"name": "get_weather", "arguments": {{"city": "{}", "days": 3}}}}\n</tool_call>'

    def may(text):
        return accepts(constraint_of(asking(tools=(WEATHER,)), model), loaded, text)

    assert may("It rains, 2 < 3.")
    assert may("I look.\n" + block.format("Oslo"))
    assert may(block.format("Oslo") + "\n" + block.format("Zürich"))
    assert not may("I look.\n" + block.format("Paris"))
    assert constraint_of(asking(tools=(CLOCK,)), model) is None


def test_a_strict_function_of_a_model_whose_whole_answer_is_the_call(loaded):
    model = replace(loaded, chat_template=LLAMA)
    call = '{{"name": "get_weather", "parameters": {{"city": "{}", "days": 3}}}}'

    def may(text):
        return accepts(constraint_of(asking(tools=(WEATHER,)), model), loaded, text)

    assert may(call.format("Oslo"))
    assert all(may(text) for text in ("It rains {much}.", " \n It rains.", "\n"))
    for before in ("", " ", "\n\n", "\u00a0"):
        assert not may(before + call.format("Paris"))


def test_a_call_that_a_control_token_announces_is_allowed_and_told(loaded, tiny_model):
    from transformers import AutoTokenizer

    from finetune_engine.generate import Detokeniser

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[TOOL_CALLS]"]})
    model = replace(loaded, tokenizer=tokenizer, chat_template=MISTRAL)
    request = asking(tools=(WEATHER,))
    ids = tokenizer('I look.[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Oslo", "days": 3}}]').input_ids
    constraint = constraint_of(request, model)
    for token in ids:
        assert constraint.mask()[token]
        constraint.take(token)
    detokeniser = Detokeniser(tokenizer, [], shown=shown_tokens(request, model))
    reader = reader_of(request, model, [])
    deltas = [reader.read(Delta(0, detokeniser.push(token))) for token in [0, *ids]]
    choice = gather(request, [*deltas, reader.read(Delta(0, detokeniser.flush(), (), "stop"))]).choices[0]
    assert choice.text == "I look."
    assert json.loads(choice.tool_calls[0].arguments) == {"city": "Oslo", "days": 3}


def test_an_answer_in_json_or_a_call(loaded):
    request = asking(tools=(CLOCK,), answer_schema=AnswerSchema(CITY))
    for text in (
        '{"city": "Oslo", "days": 2}',
        '<tool_call>\n{"name": "get_time", "arguments": {"utc": true}}\n</tool_call>',
    ):
        assert accepts(constraint_of(request, replace(loaded, chat_template=HERMES)), loaded, text)
    assert not accepts(constraint_of(request, loaded), loaded, "Hello")


def test_pretty_and_plain_json_are_both_allowed_and_endless_space_is_not(loaded):
    def may(text):
        return accepts(constraint_of(asking(answer_schema=AnswerSchema(CITY)), loaded), loaded, text)

    value = {"city": "Oslo", "days": 2}
    assert all(may(json.dumps(value, **how)) for how in ({}, {"indent": 4}, {"separators": (",", ":")}))
    assert not may('{\n\n"city": "Oslo", "days": 2}')
    assert not may('{"city": "Oslo", "days": 2, "more": 1}')


def test_a_model_that_thinks_thinks_first(loaded):
    model = replace(loaded, chat_template="<think></think>")
    request = asking(answer_schema=AnswerSchema(CITY))
    prompt = loaded.tokenizer("Question<think>\n")["input_ids"]
    constraint = constraint_of(request, model, prompt)
    assert not constraint.mask()[loaded.eos_token_id]
    assert accepts(constraint, loaded, 'Is it warm?\n</think>{"city": "Oslo", "days": 2}')
    assert not accepts(constraint_of(request, model, []), loaded, "Is it warm?")


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "text"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/missing"}}}, "missing"),
        ({"type": "string", "pattern": "("}, "regex"),
        ({"enum": ["x" * 1000] * 300}, "too large"),
    ],
)
def test_a_schema_that_cannot_be_followed_is_refused(loaded, schema, word):
    with pytest.raises(UserError) as caught:
        constraint_of(asking(answer_schema=AnswerSchema(schema)), loaded)
    assert (caught.value.status, caught.value.field) == (400, "response_format")
    assert word in caught.value.sentence


def test_properties_of_joined_schemas_are_not_shut_out(loaded):
    constraint = constraint_of(asking(answer_schema=AnswerSchema(JOINED)), loaded)
    assert accepts(constraint, loaded, '{"a": true, "b": false}')


def test_nothing_is_asked_of_a_plain_request(loaded):
    assert constraint_of(asking(), loaded) is None


def test_a_schema_of_as_many_properties_as_may_be_is_followed(loaded):
    names = {f"p{number}": {"type": "boolean"} for number in range(MAX_PROPERTIES)}
    constraint = constraint_of(asking(answer_schema=AnswerSchema({"type": "object", "properties": names})), loaded)
    assert accepts(constraint, loaded, '{"p3":true,"p999":false}')


def test_a_schema_that_turns_out_too_large_in_the_middle_of_an_answer_is_the_callers_to_mend(loaded):
    endless = {"type": "string", "pattern": "^(.{1,1000}){1,1000}$"}
    schema = {"type": "object", "properties": {"a": endless}, "required": ["a"]}
    constraint = constraint_of(asking(answer_schema=AnswerSchema(schema)), loaded)
    for text in ('{"a":"', *("b" * 200)):
        for token in loaded.tokenizer(text, add_special_tokens=False)["input_ids"]:
            constraint.mask()
            constraint.take(token)
        if constraint.problem is not None:
            break
    assert isinstance(constraint.problem, UserError)
    assert (constraint.problem.status, constraint.problem.code) == (400, "invalid_json_schema")
