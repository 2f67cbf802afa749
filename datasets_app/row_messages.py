"""The messages of a row as a person may write them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from finetune_engine.errors import UserError

ROLES = ("system", "developer", "user", "assistant", "tool")
LONGEST_EDIT = 200_000  # characters in all messages of one row
DEEPEST = 30  # levels of lists and objects inside a message


def checked_messages(messages: Any, *, is_plain_text: bool = False) -> list[dict[str, Any]]:
    """The messages without anything but role and content, or UserError saying what is wrong with them. Only plain texts
    may lack an input."""
    if not isinstance(messages, list) or not messages:
        raise UserError("missing_messages_list", _("A row needs at least a question and an answer."), field="messages")
    clean: list[dict[str, Any]] = []
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            sentence = _("Message %(n)s needs a role: %(roles)s.") % {"n": number, "roles": ", ".join(ROLES)}
            raise UserError("unrecognized_role", sentence, field="messages")
        content = message.get("content")
        if not isinstance(content, str) and not (content is None and message.get("tool_calls")):
            raise UserError("missing_content", _("Message %(n)s has no text.") % {"n": number}, field="messages")
        kept = {key: message[key] for key in ("name", "tool_calls", "tool_call_id", "weight") if key in message}
        clean.append({"role": message["role"], "content": storable(content), **storable(kept)})
    check_size(clean)
    if not is_plain_text and not any(m["role"] == "user" and (m["content"] or "").strip() for m in clean):
        raise UserError("empty_input", _("Write the input: the model needs something to answer."), field="prompt")
    if clean[-1]["role"] != "assistant" or not (clean[-1]["content"] or "").strip():
        raise UserError("empty_answer", _("Write the answer: it is what the model learns."), field="answer")
    return clean


def row_key(messages: Sequence[Mapping[str, Any]], worse: str = "") -> str:
    """One name for a proposed row with these texts, whoever proposes it. ``worse`` is part of it where the data keeps pairs of a
    better and a worse answer."""
    said = [[message.get("role"), message.get("content")] for message in messages]
    return hashlib.sha256(json.dumps([said, worse], ensure_ascii=True).encode()).hexdigest()


def check_size(messages: list[dict[str, Any]]) -> None:
    """Raises UserError when the texts are longer than an edit may be."""
    if sum(len(str(text)) for message in messages for text in message.values()) > LONGEST_EDIT:
        most = f"{LONGEST_EDIT:,}"
        raise UserError("too_long", _("A row may hold %(n)s characters at most.") % {"n": most}, field="messages")


def storable(value: Any, depth: int = 0) -> Any:
    """The JSON value with every text free of what no database stores: NUL and halves of characters become visible
    marks. Raises UserError for a value nested beyond all reason."""
    if depth > DEEPEST:
        raise UserError("too_deep", _("The messages are nested too deeply."), field="messages")
    if isinstance(value, str):
        return value.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [storable(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {storable(str(key)): storable(item, depth + 1) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def with_texts(messages: list[dict[str, Any]], prompt: str | None, answer: str | None) -> list[dict[str, Any]]:
    """The messages with another last question and another answer; None leaves what is there."""
    messages = [dict(message) for message in messages]
    if not any(message["role"] == "user" for message in messages):
        messages.append({"role": "user", "content": ""})
    if messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": ""})
    if prompt is not None:
        last = max(i for i, message in enumerate(messages) if message["role"] == "user")
        messages[last]["content"] = prompt.replace("\r\n", "\n")
    if answer is not None:
        messages[-1]["content"] = answer.replace("\r\n", "\n")
    return messages
