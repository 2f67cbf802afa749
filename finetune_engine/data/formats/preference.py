"""Preference pairs (chosen and rejected answers): recognised so that they are refused with a reason."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_engine.data.formats.row_format import Guess, Row, RowFormat, refused, share
from finetune_engine.data.records import Draft, Mapping

_PAIRS = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("preferred_completion", "non_preferred_output"),
)


def _guess(columns: Sequence[str], rows: Sequence[Row]) -> Guess:
    known = next((p for p in _PAIRS if set(p) <= set(columns)), None)
    if known is not None:
        return Guess(share(rows, lambda row: set(known) <= row.keys()))
    if {"prompt", "completion", "label"} <= set(columns):
        return Guess(share(rows, lambda row: isinstance(row.get("label"), bool)))
    return Guess(0.0)


def _convert(row: Row, mapping: Mapping | None) -> Draft:
    return refused("data_type", "holds a preference pair instead of one answer. Keep the chosen answer only.")


FORMAT = RowFormat(
    name="preference",
    title="Preference pairs",
    shape='{"prompt": "…", "chosen": "…", "rejected": "…"}',
    priority=100,
    guess=_guess,
    convert=_convert,
    usable=False,
    refusal="Each row holds a better and a worse answer. Keep the better one, as prompt and completion.",
)
