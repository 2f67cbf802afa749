"""Text without a question: ``{"text": "..."}``. The model learns to write it."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_engine.data.formats.row_format import (
    Guess,
    Row,
    RowFormat,
    conversation,
    find_column,
    refused,
    share,
    split_name,
)
from finetune_engine.data.records import Draft, Mapping


def _guess(columns: Sequence[str], rows: Sequence[Row]) -> Guess:
    column = find_column(columns, ("text",))
    if column is None:
        return Guess(0.0)
    return Guess(share(rows, lambda row: isinstance(row.get(column), str)))


def _convert(row: Row, mapping: Mapping | None) -> Draft:
    column = find_column(list(row), ("text",))
    text = row.get(column) if column else None
    if not isinstance(text, str):
        return refused(
            "message_missing_key", "has no “text”. Add it, as in the other rows.", column="text", expected="text"
        )
    metadata = {key: value for key, value in row.items() if key != column}
    return Draft(messages=conversation("", text), metadata=metadata, split=split_name(row.get("split")))


FORMAT = RowFormat(name="text", title="Plain text", shape='{"text": "…"}', priority=10, guess=_guess, convert=_convert)
