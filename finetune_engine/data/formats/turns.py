"""Checks on a list of conversation turns, shared by every format that has one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson

from finetune_engine.data.records import Finding, Message, quoted

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_KNOWN = {
    "role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call", "loss_weight", "refusal", "audio",
    "reasoning_content",
}  # fmt: skip


def check_turns(raw: Any, column: str, findings: list[Finding]) -> list[Message]:
    """Canonical messages from a list of ``{role, content}``; every mistake becomes a finding."""
    if not isinstance(raw, list) or not raw:
        found = "an empty list" if raw == [] else ("nothing" if raw is None else quoted(raw))
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
        findings.append(_wrong("data_type", f"has {quoted(item)} in {place} instead of a message.", place, "a message"))
        return None
    calls = item.get("tool_calls") or item.get("function_call")
    if "role" not in item or ("content" not in item and not calls):
        key = "role" if "role" not in item else "content"
        found = ", ".join(map(str, item)) or "nothing"
        finding = _wrong("message_missing_key", f"has a message without {quoted(key)} in {place}.", place, key)
        finding.found = found
        findings.append(finding)
        return None
    role = item["role"]
    if role not in ROLES:
        finding = _wrong("unrecognized_role", f"has the role {quoted(role)} in {place}.", place, ", ".join(ROLES))
        finding.found, finding.fix = quoted(role), f"Use one of {', '.join(ROLES)}."
        findings.append(finding)
        return None
    for key in item.keys() - _KNOWN:
        finding = _wrong(
            "message_unrecognized_key", f"has {quoted(key)} in {place}, which is kept unread.", place, None
        )
        finding.found = key
        findings.append(finding)
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
            findings.append(_wrong("missing_content", f"has a message without content in {place}.", place, "text"))
        return None if has_calls else ""
    if isinstance(content, list):
        texts: list[str] = []
        for part in content:
            text = part.get("text", part.get("value")) if isinstance(part, dict) else part
            if not isinstance(text, str) or (isinstance(part, dict) and part.get("type", "text") != "text"):
                kind = part.get("type") if isinstance(part, dict) else part
                findings.append(
                    _wrong("data_type", f"has {quoted(kind)} in {place}; only text is read.", place, "text")
                )
                return ""
            texts.append(text)
        return "".join(texts)
    findings.append(_wrong("data_type", f"has {quoted(content)} in {place} where text was expected.", place, "text"))
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
            message = f"has tool arguments in {where} that are not valid JSON."
            findings.append(_wrong("tool_arguments_invalid", message, where, "valid JSON"))


def check_order(messages: list[Message], column: str, findings: list[Finding]) -> None:
    """Who speaks when: an answer at the end, sides taking turns."""
    roles = [m["role"] for m in messages]
    if "assistant" not in roles:
        finding = _wrong(
            "example_missing_assistant_message", "has no answer from the assistant.", column, "an assistant message"
        )
        finding.found, finding.fix = ", ".join(roles), "Add the answer as the last message."
        findings.append(finding)
        return
    if roles[-1] != "assistant":
        finding = _wrong(
            "last_not_assistant",
            f"ends with a message by the {roles[-1]}; the last message must be the assistant's answer.",
            f"{column}[{len(roles) - 1}].role",
            "assistant",
        )
        finding.found, finding.fix = roles[-1], "Add the answer, or remove what comes after the last one."
        findings.append(finding)
        return
    sides = [r for r in roles if r in ("user", "assistant")]
    plain = "tool" not in roles and "function" not in roles
    if plain and sides and (sides[0] == "assistant" or any(a == b for a, b in pairwise(sides))):
        findings.append(
            _wrong(
                "roles_not_alternating",
                "has two turns by the same side in a row.",
                column,
                "user and assistant in turn",
            )
        )
    for i, message in enumerate(messages[:-1]):
        if message["role"] == "assistant" and message["content"] is not None and not message["content"].strip():
            place = f"{column}[{i}].content"
            findings.append(_wrong("empty_answer", f"has an empty answer in {place}.", place, "text"))


def _wrong(code: str, message: str, place: str, expected: str | None) -> Finding:
    return Finding(code, message, column=place, expected=expected)
