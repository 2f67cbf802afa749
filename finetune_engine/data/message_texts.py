"""The texts inside a list of messages: where they are, and how to change them without touching the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from finetune_engine.data.formats.turns import KNOWN_FIELDS
from finetune_engine.data.records import Message

# What a model reads or writes as plain text. Names and ids are references, not text.
_TEXT_FIELDS = ("content", "reasoning_content", "refusal")

# Takes a text and the name it stands under in tool arguments ("" for the content of a message).
Change = Callable[[str, str], str]


def written_texts(messages: Sequence[Message], name: str = "messages") -> Iterator[tuple[str, str]]:
    """``(path, text)`` of every text that a person or a model wrote; tool arguments are not among them."""
    for index, message in enumerate(messages):
        for key in _TEXT_FIELDS:
            value = message.get(key)
            if isinstance(value, str):
                yield f"{name}[{index}].{key}", value
            elif isinstance(value, list):
                for place, part in enumerate(value):
                    if isinstance(part, str):
                        yield f"{name}[{index}].{key}[{place}]", part
                    elif isinstance(part, dict) and isinstance(part.get("text"), str):
                        yield f"{name}[{index}].{key}[{place}].text", part["text"]


def argument_texts(messages: Sequence[Message], name: str = "messages") -> Iterator[tuple[str, str, str]]:
    """``(path, text, key)`` of every value inside tool arguments and fields that nobody reads but that stay in the row;
    ``key`` is what it stands under, "" for nothing."""
    for index, message in enumerate(messages):
        calls = message.get("tool_calls")
        functions = (
            [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
        )
        path = f"{name}[{index}].tool_calls"
        seen: list[tuple[str, str]]
        for function in [*functions, message.get("function_call")]:
            if isinstance(function, dict):
                seen = []
                _function(function, _noting(seen))
                yield from ((path, text, key) for text, key in seen)
        for unread in _unread(message):
            seen = []
            change_values(message[unread], unread, _noting(seen))
            yield from ((f"{name}[{index}].{unread}", text, key) for text, key in seen)


def _unread(message: Message) -> list[str]:
    return [key for key in message if key not in KNOWN_FIELDS]


def _noting(seen: list[tuple[str, str]]) -> Change:
    def note(text: str, key: str) -> str:
        seen.append((text, key))
        return text

    return note


def prompt_place(messages: Sequence[Message]) -> int | None:
    """Where the last thing stands that the user said before the last message; None for nothing."""
    return next((i for i in range(len(messages) - 2, -1, -1) if messages[i].get("role") == "user"), None)


def change_written(messages: Sequence[Message], change: Callable[[str], str]) -> list[Message]:
    """New messages in which every written text went through ``change``. The given ones stay as they are."""
    return [_changed(message, lambda text, _: change(text)) for message in messages]


def change_all(messages: Sequence[Message], change: Change) -> list[Message]:
    """Like ``change_written``, and the values inside tool arguments and unknown fields too (with the name each stands
    under).

    Arguments that are a string of JSON stay one; those that are not JSON are changed as a text. A number is handed
    over as its digits, and becomes a text only when it was changed.
    """
    return [_with_arguments(_changed(message, change), change) for message in messages]


def _changed(message: Message, change: Change) -> Message:
    out = dict(message)
    for key in _TEXT_FIELDS:
        value = message.get(key)
        if isinstance(value, str):
            out[key] = change(value, "")
        elif isinstance(value, list):
            out[key] = [_part(part, change) for part in value]
    return out


def _part(part: Any, change: Change) -> Any:
    if isinstance(part, str):
        return change(part, "")
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return part | {"text": change(part["text"], "")}
    return part


def _with_arguments(message: Message, change: Change) -> Message:
    if isinstance(calls := message.get("tool_calls"), list):
        message["tool_calls"] = [
            call | {"function": _function(call["function"], change)}
            if isinstance(call, dict) and isinstance(call.get("function"), dict)
            else call
            for call in calls
        ]
    if isinstance(function := message.get("function_call"), dict):
        message["function_call"] = _function(function, change)
    for unread in _unread(message):
        message[unread] = change_values(message[unread], unread, change)
    return message


def _function(function: Mapping[str, Any], change: Change) -> dict[str, Any]:
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        return {**function, "arguments": _json_text(arguments, change)}
    if arguments is None:
        return dict(function)
    return {**function, "arguments": change_values(arguments, "", change)}


def _json_text(arguments: str, change: Change) -> str:
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return change(arguments, "")
    changed = change_values(value, "", change)
    return arguments if changed == value else json.dumps(changed, ensure_ascii=False)


def change_values(value: Any, name: str, change: Change) -> Any:
    """A new JSON value in which every text went through ``change``, and every whole number as its digits; ``name`` is
    what the value stands under."""
    if isinstance(value, str):
        return change(value, name)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        text = str(value)
        return value if (changed := change(text, name)) == text else changed
    if isinstance(value, list):
        return [change_values(item, name, change) for item in value]
    if isinstance(value, dict):
        return {key: change_values(item, str(key), change) for key, item in value.items()}
    return value
