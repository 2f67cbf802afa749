"""OpenAI chat rows: ``{"messages": [{"role", "content"}, ...]}``."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_engine.data.formats.row_format import Guess, Row, RowFormat, find_column, share, split_name
from finetune_engine.data.formats.turns import check_turns
from finetune_engine.data.records import Draft, Mapping


def _list_column(columns: Sequence[str]) -> str | None:
    return find_column(columns, ("messages", "conversation", "conversations", "chat", "dialogue"))


def _guess(columns: Sequence[str], rows: Sequence[Row]) -> Guess:
    column = _list_column(columns)
    if column is None:
        return Guess(0.0)

    def fits(row: Row) -> bool:
        turns = row.get(column)
        return isinstance(turns, list) and any(isinstance(t, dict) and ("role" in t or "content" in t) for t in turns)

    score = share(rows, fits)
    return Guess(max(score, 0.3) if column == "messages" else score)


def _convert(row: Row, mapping: Mapping | None) -> Draft:
    column = _list_column(list(row)) or "messages"
    draft = Draft()
    draft.messages = check_turns(row.get(column), column, draft.findings)
    draft.metadata = {key: value for key, value in row.items() if key != column}
    draft.split = split_name(row.get("split"))
    label = row.get("label")
    draft.label = label if isinstance(label, str) else None
    return draft


FORMAT = RowFormat(
    name="messages",
    title="Chat messages",
    shape='{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
    priority=90,
    guess=_guess,
    convert=_convert,
)
