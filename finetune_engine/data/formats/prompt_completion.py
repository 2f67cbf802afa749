"""Prompt and completion: ``{"prompt", "completion"}``, each a text or a list of messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetune_engine.data.formats.mapped import convert_mapped
from finetune_engine.data.formats.pairs import checked
from finetune_engine.data.formats.row_format import Guess, Row, RowFormat, find_column, share, split_column, split_name
from finetune_engine.data.records import Draft, Mapping


def _guess(columns: Sequence[str], rows: Sequence[Row]) -> Guess:
    prompt = find_column(columns, ("prompt",))
    completion = find_column(columns, ("completion", "response"))
    if prompt is None or completion is None:
        return Guess(0.0)
    mapping = Mapping((prompt,), completion, find_column(columns, ("system",)), split=split_column(columns, rows))
    return Guess(share(rows, lambda row: prompt in row and completion in row), mapping)


def _as_turns(value: Any, role: str) -> list[Any]:
    return value if isinstance(value, list) else [{"role": role, "content": value}]


def _convert(row: Row, mapping: Mapping | None) -> Draft:
    if mapping is None:
        mapping = Mapping(("prompt",), "completion")
    prompt, completion = row.get(mapping.prompt[0]), row.get(mapping.completion)
    if not isinstance(prompt, list) and not isinstance(completion, list):
        return convert_mapped(row, mapping)
    draft = Draft()
    turns = _as_turns(prompt, "user"), _as_turns(completion, "assistant")
    draft.messages, draft.findings = checked(*turns, mapping.prompt[0], mapping.completion)
    draft.metadata = {key: value for key, value in row.items() if key not in mapping.used()}
    if mapping.system and isinstance(system := row.get(mapping.system), str) and system.strip() and draft.messages:
        draft.messages.insert(0, {"role": "system", "content": system})
    draft.split = split_name(row.get(mapping.split)) if mapping.split else None
    return draft


FORMAT = RowFormat(
    name="prompt_completion",
    title="Prompt and completion",
    shape='{"prompt": "…", "completion": "…"}',
    priority=60,
    guess=_guess,
    convert=_convert,
)
