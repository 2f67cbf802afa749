"""Forms, calls and thoughts through a real model and its batch."""

from __future__ import annotations

import json
import threading

import jsonschema
import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError
from finetune_engine.serve.backends.in_process import InProcessBackend, ModelFiles
from finetune_engine.serve.exchange import AnswerSchema, CompletionRequest, Message, Tool
from finetune_engine.serve.openai_format import gather
from finetune_engine.train.local.template import DEFAULT_TEMPLATE

SCHEMA = {
    "type": "object",
    "properties": {"side": {"enum": ["tenant", "landlord"]}, "days": {"type": "integer", "minimum": 1, "maximum": 30}},
    "required": ["side", "days"],
}
THINKING = DEFAULT_TEMPLATE + "{% if add_generation_prompt %}{{ '<think>\\n' }}{% endif %}{# </think> #}"

CALLING = DEFAULT_TEMPLATE + "{# tools: <tool_call> #}"


@pytest.fixture(scope="module")
def backend(tiny_model):
    def resolve(model_id):
        template = {"thinking": THINKING, "calling": CALLING}.get(model_id)
        return ModelFiles(
            model_id, BaseModelRef(key=model_id, path=str(tiny_model), chat_template=template), None, model_id
        )

    serving = InProcessBackend(resolve)
    yield serving
    serving.close()


def ask(backend, **wanted):
    usual = {"model": "plain", "messages": (Message("user", "rent"),), "max_tokens": 120}
    request = CompletionRequest(**(usual | wanted))
    return gather(request, backend.complete(request))


def test_every_choice_keeps_to_the_schema_and_differs(backend):
    reply = ask(backend, answer_schema=AnswerSchema(SCHEMA), n=4, seed=1)
    values = [json.loads(choice.text) for choice in reply.choices]
    for value in values:
        jsonschema.validate(value, SCHEMA)
    assert {choice.finish_reason for choice in reply.choices} == {"stop"}
    assert len({json.dumps(value) for value in values}) > 1


def test_the_probabilities_told_are_the_models_own(backend):
    tokens = ask(backend, answer_schema=AnswerSchema(SCHEMA), temperature=0.0, top_logprobs=1).choices[0].tokens
    assert any(token.alternatives[0].logprob > token.logprob + 0.1 for token in tokens), "it was held to the schema"
    assert all(token.alternatives[0].logprob >= token.logprob - 1e-5 for token in tokens)


def test_free_answers_beside_enforced_ones_are_those_given_alone(backend):
    alone = ask(backend, temperature=0.0).choices[0].text
    found = {}

    def work(place):
        schema = AnswerSchema(SCHEMA) if place % 2 else None
        found[place] = ask(backend, temperature=0.0, answer_schema=schema).choices[0].text

    threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {found[place] for place in range(0, 8, 2)} == {alone}
    assert len({found[place] for place in range(1, 8, 2)}) == 1
    jsonschema.validate(json.loads(found[1]), SCHEMA)


def test_a_call_is_told_as_a_call(backend):
    tool = Tool("file_letter", "", SCHEMA)
    reply = ask(backend, model="calling", tools=(tool,), must_call=True, parallel_tool_calls=False, seed=2)
    choice = reply.choices[0]
    assert (choice.text, choice.finish_reason, choice.tool_calls[0].name) == ("", "tool_calls", "file_letter")
    jsonschema.validate(json.loads(choice.tool_calls[0].arguments), SCHEMA)


def test_what_a_thinking_model_writes_first_are_its_thoughts(backend):
    reply = ask(backend, model="thinking", temperature=0.0, max_tokens=20)
    choice = reply.choices[0]
    assert choice.reasoning
    assert (choice.text, choice.tokens, choice.finish_reason) == ("", [], "length")
    assert reply.usage.completion_tokens == 20


def test_a_schema_that_cannot_be_followed_reaches_the_caller_and_disturbs_nobody(backend):
    with pytest.raises(UserError, match="cannot be followed"):
        ask(backend, answer_schema=AnswerSchema({"not": {"type": "string"}}))
    assert ask(backend, max_tokens=2).usage.completion_tokens <= 2
