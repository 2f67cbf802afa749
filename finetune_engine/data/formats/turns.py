"""Checks on a list of conversation turns, shared by every format that has one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson

from finetune_engine.data.records import Finding, Message, kind_of, quoted

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
KNOWN_FIELDS = {
    "role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call", "loss_weight", "refusal", "audio",
    "reasoning_content",
}  # fmt: skip


def check_turns(raw: Any, column: str, findings: list[Finding]) -> list[Message]:
    """Canonical messages from a list of ``{role, content}``; every mistake becomes a finding."""
    if not isinstance(raw, list) or not raw:
        found = "an empty list" if raw == [] else kind_of(raw)
        findings.append(
            Finding(
                "missing_messages_list",
                f'has no list of messages in {quoted(column)}. Write it as [{{"role": ..., "content": ...}}, ...].',
                column=column,
                found=found,
                expected="a list of messages",
                fix="Add the list of messages.",
            )
        )
        return []
    messages = [m for i, item in enumerate(raw) if (m := _one(item, f"{column}[{i}]", findings)) is not None]
    if not any(finding.code != "message_unrecognized_key" for finding in findings):
        check_order(messages, column, findings)
    return messages


def _one(item: Any, place: str, findings: list[Finding]) -> Message | None:
    if not isinstance(item, dict):
        fix = 'Write it as {"role": ..., "content": ...}.'
        message = f"has {kind_of(item)} in {place} instead of a message. {fix}"
        findings.append(_wrong("data_type", message, place, "a message", found=kind_of(item), fix=fix))
        return None
    calls = item.get("tool_calls") or item.get("function_call")
    if "role" not in item or ("content" not in item and not calls):
        key = "role" if "role" not in item else "content"
        found = ", ".join(map(str, item)) or "nothing"
        fix = f"Add {quoted(key)}."
        message = f"has a message without {quoted(key)} in {place}. {fix}"
        findings.append(_wrong("message_missing_key", message, place, key, found=found, fix=fix))
        return None
    role = item["role"]
    if role not in ROLES:
        fix = f"Use one of {', '.join(ROLES)}."
        message = f"has the role {quoted(role)} in {place}. {fix}"
        findings.append(_wrong("unrecognized_role", message, place, ", ".join(ROLES), found=quoted(role), fix=fix))
        return None
    for key in item.keys() - KNOWN_FIELDS:
        message = f"has {quoted(key)} in {place}, which is kept unread."
        findings.append(_wrong("message_unrecognized_key", message, place, None, found=key))
    content = _content(item.get("content"), bool(calls), place, findings)
    if calls:
        _check_arguments(item, place, findings)
    return {**item, "content": content}


def _content(content: Any, has_calls: bool, place: str, findings: list[Finding]) -> str | None:
    """Text as it is; a list of typed parts joined; None only beside tool calls."""
    if isinstance(content, str):
        return content
    place = f"{place}.content"
    if content is None:
        if not has_calls:
            fix = "Add the text, or remove the message."
            message = f"has a message without content in {place}. {fix}"
            findings.append(_wrong("missing_content", message, place, "text", found="nothing", fix=fix))
        return None if has_calls else ""
    if isinstance(content, list):
        texts: list[str] = []
        for part in content:
            text = part.get("text", part.get("value")) if isinstance(part, dict) else part
            if not isinstance(text, str) or (isinstance(part, dict) and part.get("type", "text") != "text"):
                kind = quoted(part.get("type", "no type")) if isinstance(part, dict) else kind_of(part)
                fix = "Leave that part out, or describe it in words."
                message = f"has {kind} in {place}; only text is read. {fix}"
                findings.append(_wrong("data_type", message, place, "text", found=kind, fix=fix))
                return ""
            texts.append(text)
        return "".join(texts)
    kind, fix = kind_of(content), "Write it as text."
    message = f"has {kind} in {place} where text was expected. {fix}"
    findings.append(_wrong("data_type", message, place, "text", found=kind, fix=fix))
    return ""


def _check_arguments(item: dict[str, Any], place: str, findings: list[Finding]) -> None:
    calls = item.get("tool_calls")
    functions = [c.get("function") if isinstance(c, dict) else c for c in calls] if isinstance(calls, list) else []
    if item.get("function_call"):
        functions.append(item["function_call"])
    for function in functions:
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if isinstance(arguments, dict):
            continue
        try:
            orjson.loads(arguments if isinstance(arguments, str) else "")
        except orjson.JSONDecodeError:
            where = f"{place}.tool_calls"
            found, fix = "text that is not valid JSON", "Correct the arguments, or remove the row."
            message = f"has tool arguments in {where} that are not valid JSON. {fix}"
            findings.append(_wrong("tool_arguments_invalid", message, where, "valid JSON", found=found, fix=fix))


def check_order(messages: list[Message], column: str, findings: list[Finding]) -> None:
    """Who speaks when: an answer at the end, sides taking turns."""
    roles = [m["role"] for m in messages]
    if "assistant" not in roles:
        fix = "Add the answer as the last message."
        message, expected = f"has no answer from the assistant. {fix}", "an assistant message"
        findings.append(
            _wrong("example_missing_assistant_message", message, column, expected, found=", ".join(roles), fix=fix)
        )
        return
    if roles[-1] != "assistant":
        place, fix = f"{column}[{len(roles) - 1}].role", "Add the answer, or remove what comes after the last one."
        message = f"ends with a message by the {roles[-1]}; the last message must be the assistant's answer. {fix}"
        findings.append(_wrong("last_not_assistant", message, place, "assistant", found=roles[-1], fix=fix))
        return
    sides = [r for r in roles if r in ("user", "assistant")]
    plain = "tool" not in roles and "function" not in roles
    if plain and sides and (sides[0] == "assistant" or any(a == b for a, b in pairwise(sides))):
        fix = "Join the two turns, or add the one that is missing between them."
        message, expected = f"has two turns by the same side in a row. {fix}", "user and assistant in turn"
        findings.append(_wrong("roles_not_alternating", message, column, expected, found=", ".join(roles), fix=fix))
    for i, turn in enumerate(messages[:-1]):
        if turn["role"] == "assistant" and turn["content"] is not None and not turn["content"].strip():
            place = f"{column}[{i}].content"
            fix = "Add the answer, or remove the turn."
            message = f"has an empty answer in {place}. {fix}"
            findings.append(_wrong("empty_answer", message, place, "text", found="nothing", fix=fix))


def _wrong(
    code: str, message: str, place: str, expected: str | None, found: str | None = None, fix: str | None = None
) -> Finding:
    return Finding(code, message, column=place, expected=expected, found=found, fix=fix)
