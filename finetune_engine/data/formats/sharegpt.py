"""ShareGPT rows: ``{"conversations": [{"from": "human", "value": "..."}, ...], "system"?, "tools"?}``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from finetune_engine.data.formats.row_format import Guess, Row, RowFormat, find_column, share, split_name
from finetune_engine.data.formats.turns import check_turns
from finetune_engine.data.records import Draft, Finding, Mapping

_ROLES = {
    "human": "user", "user": "user", "prompter": "user",
    "gpt": "assistant", "assistant": "assistant", "model": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "function_call": "assistant", "system": "system", "developer": "developer",
    "observation": "tool", "tool": "tool", "function_response": "tool",
}  # fmt: skip


def _list_column(columns: Sequence[str]) -> str | None:
    return find_column(columns, ("conversations", "conversation", "messages", "dialogue", "chat"))


def _guess(columns: Sequence[str], rows: Sequence[Row]) -> Guess:
    column = _list_column(columns)
    if column is None:
        return Guess(0.0)

    def fits(row: Row) -> bool:
        turns = row.get(column)
        return isinstance(turns, list) and any(isinstance(t, dict) and ("from" in t or "value" in t) for t in turns)

    return Guess(share(rows, fits))


def turn_of(item: Any) -> Any:
    """A turn with role and content, whichever names it had; anything else as it is."""
    if not isinstance(item, dict):
        return item
    out = {key: value for key, value in item.items() if key not in ("from", "value")}
    if "from" in item:
        speaker = item["from"]
        out["role"] = _ROLES.get(speaker.lower(), speaker) if isinstance(speaker, str) else speaker
    if "value" in item:
        out["content"] = item["value"]
    return out


def check_calls(turns: Any, column: str, findings: list[Finding]) -> None:
    """A ``function_call`` turn is a call written as JSON: anything else is ``tool_arguments_invalid``."""
    for index, turn in enumerate(turns if isinstance(turns, list) else ()):
        if not isinstance(turn, dict) or turn.get("from") != "function_call":
            continue
        try:
            orjson.loads(turn["value"] if isinstance(turn.get("value"), str) else "")
        except orjson.JSONDecodeError:
            place = f"{column}[{index}].value"
            fix = "Correct the call, or remove the row."
            message = f"has a tool call in {place} that is not valid JSON. {fix}"
            findings.append(Finding("tool_arguments_invalid", message, column=place, expected="valid JSON", fix=fix))


def _convert(row: Row, mapping: Mapping | None) -> Draft:
    column = _list_column(list(row)) or "conversations"
    turns = row.get(column)
    if isinstance(turns, list):
        turns = [turn_of(item) for item in turns]
    draft = Draft()
    draft.messages = check_turns(turns, column, draft.findings)
    check_calls(row.get(column), column, draft.findings)
    used = {column}
    system = row.get("system")
    if isinstance(system, str) and draft.messages and draft.messages[0]["role"] != "system":
        used.add("system")
        if system.strip():
            draft.messages.insert(0, {"role": "system", "content": system})
    draft.metadata = {key: value for key, value in row.items() if key not in used}
    draft.split = split_name(row.get("split"))
    return draft


FORMAT = RowFormat(
    name="sharegpt",
    title="ShareGPT conversations",
    shape='{"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}',
    priority=80,
    guess=_guess,
    convert=_convert,
)
