"""Thoughts, text and calls out of what models write, however it is cut into pieces."""

import pytest

from finetune_engine.serve.answer_reader import AnswerReader
from finetune_engine.serve.exchange import CompletionRequest, Delta, Message, Token, Tool, Usage
from finetune_engine.serve.openai_format import ChunkWriter, Reply, ReplyId, gather, response_body

WEATHER = Tool("get_weather", "", {"type": "object"})
CALL = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'
HERMES = "{{ tools }}<tool_call>"
MISTRAL = "{{ tools }}[TOOL_CALLS]"
LLAMA = "{{ tools }} ipython parameters"
THINKING = "<think></think>"
STEPS = pytest.mark.parametrize("step", [1, 4, 1000])


def asking(**extra):
    return CompletionRequest(model="m", messages=(Message("user", "x"),), **({"tools": (WEATHER,)} | extra))


def read(written, template, *, step=1, finish="stop", is_open=False, **extra):
    """The choice that comes of a text in pieces of ``step`` characters, and every delta on the way."""
    request = asking(**extra)
    reader = AnswerReader(request, template, is_open=is_open)
    pieces = [written[at : at + step] for at in range(0, len(written), step)]
    deltas = [reader.read(Delta(0, piece, (Token(piece, -1.0),))) for piece in pieces]
    deltas.append(reader.read(Delta(0, "", (), finish)))
    return gather(request, deltas).choices[0], deltas


@STEPS
@pytest.mark.parametrize(
    ("template", "written"),
    [
        (HERMES, f"<tool_call>\n{CALL}\n</tool_call>"),
        ("no tools at all", f"<tool_call>\n{CALL}\n</tool_call>"),
        (MISTRAL, f"[TOOL_CALLS] [{CALL}]"),
        (LLAMA, CALL.replace("arguments", "parameters")),
        (LLAMA, f"<|python_tag|>{CALL}"),
    ],
)
def test_a_call_is_read_in_the_form_of_the_model(template, written, step):
    choice, _ = read(written, template, step=step)
    assert [(call.name, call.arguments) for call in choice.tool_calls] == [("get_weather", '{"city": "Oslo"}')]
    assert choice.tool_calls[0].id.startswith("call_")
    assert (choice.text, choice.finish_reason) == ("", "tool_calls")


@STEPS
def test_several_calls_and_the_words_before_them(step):
    block = f"<tool_call>\n{CALL}\n</tool_call>"
    choice, _ = read(f"I look it up.\n{block}\n{block}", HERMES, step=step)
    assert choice.text == "I look it up."
    assert len({call.id for call in choice.tool_calls}) == 2
    assert len(read(f"[TOOL_CALLS][{CALL}, {CALL}]", MISTRAL, step=step)[0].tool_calls) == 2
    assert len(read(f"{block}\n{block}", HERMES, step=step, parallel_tool_calls=False)[0].tool_calls) == 1


def test_no_piece_of_a_tag_is_ever_told():
    _, deltas = read(f"Well. <tool_call>\n{CALL}\n</tool_call>", HERMES)
    for delta in deltas:
        assert "<" not in delta.text
    choice, _ = read("Well. <tool_c", HERMES, finish="length")
    assert choice.text == "Well."
    for extra in ({}, {"tools": ()}):
        choice, _ = read("Well.\n</thi", THINKING, finish="length", is_open=True, **extra)
        assert choice.reasoning == "Well."


@STEPS
def test_what_only_looks_like_a_call_is_text(step):
    for written in ("a < b, and <b> is a tag", "Well. <tool_call>\nnonsense\n</tool_call> Yes."):
        assert read(written, HERMES, step=step)[0].text == written
    for written in ('{"a": 1} is JSON', "plain", '{"name": "somebody else", "parameters": {}}'):
        choice, _ = read(written, LLAMA, step=step)
        assert (choice.text, choice.finish_reason) == (written, "stop")


def test_text_is_told_as_it_comes_where_no_tag_can_begin():
    _, deltas = read("one two three", HERMES)
    assert sum(bool(delta.text) for delta in deltas) > 5


@STEPS
def test_a_call_cut_off_by_the_limit_is_told_as_far_as_it_goes(step):
    written = '<tool_call>\n{"name": "get_weather", "arguments": {"ci'
    choice, _ = read(written, HERMES, step=step, finish="length")
    assert (choice.tool_calls[0].arguments, choice.finish_reason) == ('{"ci', "length")
    half_a_name, _ = read('<tool_call>\n{"name": "get_we', HERMES, step=step, finish="length")
    assert (half_a_name.tool_calls, half_a_name.text) == ([], "")


@STEPS
def test_thoughts_are_told_apart_from_the_answer(step):
    written = "<think>\nIs 2 < 3?\n</think>\n\nYes."
    for template, is_open, text in (
        (THINKING, False, written),
        (THINKING, True, written.removeprefix("<think>")),
    ):
        choice, _ = read(text, template, step=step, is_open=is_open, tools=())
        assert (choice.reasoning, choice.text) == ("Is 2 < 3?", "Yes.")


def test_a_model_that_thinks_may_call_afterwards_or_not_think_at_all():
    choice, _ = read(f"<think>Hm.</think>\n<tool_call>{CALL}</tool_call>", HERMES + THINKING)
    assert (choice.reasoning, len(choice.tool_calls)) == ("Hm.", 1)
    assert read("<b>Yes</b>", THINKING, tools=())[0].text == "<b>Yes</b>"


def test_thoughts_that_the_limit_cuts_off_are_no_answer():
    choice, _ = read("<think>On the one hand", THINKING, finish="length", tools=())
    assert (choice.reasoning, choice.text) == ("On the one hand", "")


def test_tokens_of_thoughts_are_not_tokens_of_the_answer():
    choice, _ = read("<think>Hm.</think>Yes.", THINKING, tools=())
    assert "".join(token.text for token in choice.tokens) == "Yes."


def test_the_tags_mean_nothing_to_a_model_that_does_not_think_and_may_not_call():
    written = f"<think>x</think><tool_call>{CALL}</tool_call>"
    assert read(written, "plain", tools=())[0].text == written


def test_choices_are_read_apart_and_the_usage_goes_through():
    reader = AnswerReader(asking(n=2), HERMES)
    reader.read(Delta(0, "<tool_"))
    assert reader.read(Delta(1, "call")).text == "call"
    last = Delta(usage=Usage(1, 2))
    assert reader.read(last) is last


def test_a_streamed_call_adds_up_to_the_whole_one():
    request = asking()
    choice, deltas = read(f"Sure. <tool_call>{CALL}</tool_call>", HERMES)
    writer = ChunkWriter(request, ReplyId("chatcmpl-1", 0))
    chunks = [*writer.opening(), *(chunk for delta in deltas for chunk in writer.write(delta))]
    chunks += writer.closing(Usage(1, 2), {})
    told = Reply.to(request)
    for chunk in chunks:
        told.take_chunk(chunk)
    assert told.choices[0].tool_calls == choice.tool_calls
    assert (told.choices[0].text, told.choices[0].finish_reason) == ("Sure.", "tool_calls")
    assert all(chunk["choices"][0]["delta"] or chunk["choices"][0]["finish_reason"] for chunk in chunks)


def test_a_whole_answer_with_a_call_has_no_text_and_can_be_taken_in_again():
    request = asking()
    reply = Reply([read(f"<tool_call>{CALL}</tool_call>", HERMES)[0]], usage=Usage(1, 2))
    body = response_body(request, ReplyId("chatcmpl-1", 0), reply, {})
    message = body["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    again = Reply.to(request)
    again.take_body(body)
    assert again.choices[0].tool_calls == reply.choices[0].tool_calls
    assert not again.is_plain_text
    assert again.choices[0].said == '{"name": "get_weather", "arguments": "{\\"city\\": \\"Oslo\\"}"}'


@pytest.mark.parametrize("finish", ["stop", "length"])
@pytest.mark.parametrize(
    "written",
    [
        '{"name": ["get_weather"], "arguments": {}}',
        '{"name": {"x": 1}, "arguments": {}}',
        '{"name": "get\\qweather", "arguments": {',
        '{"name": "get\nweather", "arguments": {',
    ],
)
def test_a_name_that_is_none_is_read_without_an_error(written, finish):
    choice, _ = read(f"<tool_call>{written}", HERMES, step=1000, finish=finish)
    assert choice.tool_calls == []
    assert choice.finish_reason == finish
