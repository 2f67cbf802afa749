"""ShareGPT rows: ``{"conversations": [{"from": "human", "value": "..."}, ...], "system"?, "tools"?}``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetune_engine.data.formats.row_format import Guess, Row, RowFormat, find_column, share, split_name
from finetune_engine.data.formats.turns import check_turns
from finetune_engine.data.records import Draft, Mapping

_ROLES = {
    "human": "user", "user": "user", "prompter": "user",
    "gpt": "assistant", "assistant": "assistant", "model": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "function_call": "assistant", "system": "system",
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


def _turn(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    out = {key: value for key, value in item.items() if key not in ("from", "value")}
    if "from" in item:
        speaker = item["from"]
        out["role"] = _ROLES.get(speaker.lower(), speaker) if isinstance(speaker, str) else speaker
    if "value" in item:
        out["content"] = item["value"]
    return out


def _convert(row: Row, mapping: Mapping | None) -> Draft:
    column = _list_column(list(row)) or "conversations"
    turns = row.get(column)
    if isinstance(turns, list):
        turns = [_turn(item) for item in turns]
    draft = Draft()
    draft.messages = check_turns(turns, column, draft.findings)
    system = row.get("system")
    if isinstance(system, str) and system.strip() and draft.messages and draft.messages[0]["role"] != "system":
        draft.messages.insert(0, {"role": "system", "content": system})
    draft.metadata = {key: value for key, value in row.items() if key not in (column, "system")}
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
