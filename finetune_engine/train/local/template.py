"""Chat templates: from messages to the text a model reads."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from finetune_engine.errors import UserError
from finetune_engine.train.local.tool_forms import form_of, turns_in_form, turns_in_words

# For models that bring none. Plain words, few tokens, and every assistant turn ends with the model's own
# end-of-text string, so that the model can learn when to stop.
DEFAULT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'Answer:\\n' + message['content'] + eos_token + '\\n' }}"
    "{% else %}{{ message['role'] + ': ' + message['content'] + '\\n' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Answer:\\n' }}{% endif %}"
)


BREAK = "\u200b"
# Some templates tell the model today's date. A model that is asked tomorrow, or a training that goes on after midnight,
# must see what was seen before: every day is the one that Llama's template names where it is told none.
THE_DAY = datetime.date(2024, 7, 26)
NO_SYSTEM = re.compile(r"system (role|message)s? (is|are)? ?not supported", re.IGNORECASE)
TODAY = re.compile(r"""strftime_now\(\s*(?P<quote>['"])(?P<layout>[^'"]*)(?P=quote)\s*\)""")
# What a template may read of a message. A name or a weight is kept with the data, but no request brings it along.
READ = ("role", "content")
READ_OF_TOOLS = ("tool_calls", "tool_call_id", "function_call")
THOUGHTS = "reasoning_content"


def sha256_of(template: str) -> str:
    """The hexadecimal SHA-256 of a template's text."""
    return hashlib.sha256(template.encode()).hexdigest()


def render(
    tokenizer: Any,
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    prompt: bool,
    tools: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The text of ``messages``; with ``prompt`` it ends where the assistant's answer would begin. ``tools`` are told
    in the template's own words, or in a system message where it has none (see ``tool_forms``).

    transformers runs templates in an immutable sandbox. Control words of the model that stand in a message
    (``</s>``, ``<|assistant|>``) are made plain text, so that nobody can forge a turn. Raises UserError
    ``template_failed``.
    """
    turns = turns_told(tokenizer, template, messages, prompt=prompt, tools=tools)
    own_words: dict[str, Any] = {}
    if tools and form_of(template):
        own_words["tools"] = [_harmless(tokenizer, tool) for tool in tools]
    try:
        text = tokenizer.apply_chat_template(
            turns,
            chat_template=on_one_day(template),
            tokenize=False,
            add_generation_prompt=prompt,
            **own_words,
        )
    except Exception as problem:  # a template is the model author's program: it may raise anything
        raise UserError(
            "template_failed",
            f"The model's chat template does not accept this conversation: {problem}",
            reason="bad_data",
        ) from problem
    return str(text)


def turns_told(
    tokenizer: Any,
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    prompt: bool,
    tools: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """The turns as the template gets them: in its own form, without control words of the model in them."""
    last = None if prompt else len(messages) - 1
    turns = [_spoken(message, is_answer=index == last) for index, message in enumerate(messages)]
    if form := form_of(template):
        turns = turns_in_form(form, turns)
    else:
        turns = turns_in_words(turns, tools, has_system=NO_SYSTEM.search(template) is None)
    return [_harmless_turn(tokenizer, turn) for turn in turns]


def _spoken(message: Mapping[str, Any], *, is_answer: bool) -> dict[str, Any]:
    """What is said of a message to the model, the same whether it comes from a dataset or from a request.

    The thoughts of an answer may be learnt; those of earlier turns are gone when the next one is asked.
    """
    read = READ + READ_OF_TOOLS + ((THOUGHTS,) if is_answer else ())
    spoken = {name: message.get(name) for name in read if name in READ or message.get(name) is not None}
    if message.get("role") in ("tool", "function") and message.get("name"):
        spoken["name"] = message["name"]
    if spoken["role"] == "developer":
        spoken["role"] = "system"
    return spoken


@lru_cache(maxsize=16)
def on_one_day(template: str) -> str:
    """The template with THE_DAY written where it asks for today's date (transformers hands it no function of ours)."""
    return TODAY.sub(lambda found: repr(THE_DAY.strftime(found["layout"])), template)


@lru_cache(maxsize=16)
def _control_words(tokenizer: Any) -> re.Pattern[str] | None:
    """Matches every string that the tokenizer reads as a control token; None when there is none."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    words = sorted((word for word in added | set(tokenizer.all_special_tokens) if len(word) > 1), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, words))) if words else None


def _harmless_turn(tokenizer: Any, turn: Mapping[str, Any]) -> dict[str, Any]:
    """The turn with no control word in it, but for the thoughts of an answer: they are learnt as they stand."""
    return {name: value if name == THOUGHTS else _harmless(tokenizer, value) for name, value in turn.items()}


def _harmless(tokenizer: Any, value: Any) -> Any:
    """A value with an invisible space inside each control word of its texts."""
    pattern = _control_words(tokenizer)
    return value if pattern is None else _broken_up(pattern, value)


def _broken_up(pattern: re.Pattern[str], value: Any) -> Any:
    if isinstance(value, str):
        return pattern.sub(lambda found: found[0][0] + BREAK + found[0][1:], value)
    if isinstance(value, Mapping):
        return {_broken_up(pattern, name): _broken_up(pattern, item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_broken_up(pattern, item) for item in value]
    return value
