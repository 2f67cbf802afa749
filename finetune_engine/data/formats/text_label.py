"""A text and its label: classification rows under the usual names."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_engine.data.formats.input_output import OUTPUTS
from finetune_engine.data.formats.mapped import convert_mapped
from finetune_engine.data.formats.row_format import Guess, Row, RowFormat, as_text, find_column, share, split_column
from finetune_engine.data.records import Draft, Mapping

TEXTS = (
    "text", "sentence", "input", "prompt", "question", "query", "utterance", "review", "message", "content",
    "document", "clause", "description", "body", "email", "ticket", "title", "comment",
)  # fmt: skip
LABELS = (
    "labeltext", "labelname", "label", "labels", "class", "category", "intent", "sentiment", "topic", "clausetype",
    "tag", "type",
)  # fmt: skip


def _guess(columns: Sequence[str], rows: Sequence[Row]) -> Guess:
    label = find_column(columns, LABELS)
    text = find_column([c for c in columns if c != label], TEXTS)
    if text is None or label is None or find_column([c for c in columns if c not in (text, label)], OUTPUTS):
        return Guess(0.0)
    mapping = Mapping((text,), label, label=label, split=split_column(columns, rows))
    return Guess(
        share(rows, lambda row: isinstance(row.get(text), str) and as_text(row.get(label)) is not None), mapping
    )


def _convert(row: Row, mapping: Mapping | None) -> Draft:
    return convert_mapped(row, mapping, is_label=True)


FORMAT = RowFormat(
    name="text_label",
    title="Text and label",
    shape='{"text": "…", "label": "…"}',
    priority=50,
    guess=_guess,
    convert=_convert,
)
