"""The conversation in a chat request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune_engine.serve.exchange import Message, ToolCall
from finetune_engine.serve.openai_format.fields import bad, unsupported

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
# What a message of each role may have besides its role and text.
_EXTRAS = {"assistant": frozenset({"tool_calls", "reasoning_content"}), "tool": frozenset({"tool_call_id", "name"})}
_PARTS = {
    "image_url": "a picture; the models here read text only",
    "input_audio": "sound; the models here read text only",
    "file": "a file; put its text into the message",
    "refusal": "a refusal; send it as a text part",
}


def read_messages(value: Any) -> tuple[Message, ...]:
    """The messages. Raises UserError naming the one at fault."""
    if not isinstance(value, list) or not value:
        raise bad("messages", "'messages' must be a list with at least one message.", missing=value is None)
    messages = tuple(_message(item, position) for position, item in enumerate(value))
    _check_results(messages)
    return messages


def _message(item: Any, position: int) -> Message:
    place = f"messages[{position}]"
    if not isinstance(item, dict):
        raise bad(place, f"'{place}' must be an object with 'role' and 'content'.")
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise bad(f"{place}.role", f"'{place}.role' must be system, user, assistant or tool; it is {role!r:.40}.")
    for name, extra in item.items():
        # A reply of the SDK sent back as it came carries its empty fields along.
        known = name in ("role", "content") or name in _EXTRAS.get(role, ())
        if not known and extra not in (None, [], {}):
            raise unsupported(
                f"{place}.{name}", f"'{place}.{name}' is not supported: a message of the {role} does not have it here."
            )
    # This is the hot path: most messages are a role and a text. Earlier thoughts of the assistant are not read again.
    content = item.get("content")
    calls: tuple[ToolCall, ...] = ()
    if item.get("tool_calls") is not None:
        calls = _tool_calls(item["tool_calls"], f"{place}.tool_calls")
    if isinstance(content, str):
        text = content
    else:  # the assistant says nothing when it calls a function
        text = "" if calls and content is None else _joined(content, f"{place}.content")
    answers = None
    if role == "tool":
        answers = item.get("tool_call_id")
        if not isinstance(answers, str) or not answers:
            raise bad(f"{place}.tool_call_id", f"'{place}.tool_call_id' must say which call this is the result of.")
    return Message(_ROLES[role], text, calls, answers)


def _check_results(messages: tuple[Message, ...]) -> None:
    """A result belongs to a call of the assistant's turn before it."""
    asked: set[str] = set()
    for position, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in asked:
                place = f"messages[{position}].tool_call_id"
                raise bad(place, f"'{place}' answers no 'tool_calls' of the assistant's message before it.")
        else:
            asked = {call.id for call in message.tool_calls}


def _tool_calls(value: Any, place: str) -> tuple[ToolCall, ...]:
    if not isinstance(value, list):
        raise bad(place, f"'{place}' must be a list.")
    return tuple(_tool_call(item, f"{place}[{position}]") for position, item in enumerate(value))


def _tool_call(item: Any, place: str) -> ToolCall:
    function = (
        item.get("function") if isinstance(item, Mapping) and item.get("type", "function") == "function" else None
    )
    if not isinstance(function, Mapping) or not isinstance(item.get("id"), str):
        raise bad(
            place, f"'{place}' must have an 'id', the 'type' function and a 'function' with 'name' and 'arguments'."
        )
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not name or not isinstance(arguments, str):
        raise bad(f"{place}.function", f"'{place}.function' must have a 'name' and 'arguments', both texts.")
    return ToolCall(item["id"], name, arguments)


def _joined(value: Any, place: str) -> str:
    """The text of a content in parts."""
    if not isinstance(value, list) or not value:
        raise bad(place, f"'{place}' must be a text.")
    return "".join(_part(part, f"{place}[{position}]") for position, part in enumerate(value))


def _part(part: Any, place: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if isinstance(kind, str) and kind in _PARTS:
        raise unsupported(place, f"'{place}' is {_PARTS[kind]}.")
    if kind != "text" or not isinstance(part.get("text"), str):
        raise bad(place, f'\'{place}\' must be a text part: {{"type": "text", "text": ...}}.')
    return str(part["text"])
