"""Questions without answers, as in evaluation sets: recognised so that they are refused with a reason."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_engine.data.formats.input_output import OUTPUTS
from finetune_engine.data.formats.row_format import Guess, Row, RowFormat, find_column, refused, share
from finetune_engine.data.records import Draft, Mapping

_QUESTIONS = ("prompt", "question", "instruction", "query", "turns", "prompts", "questions")


def _guess(columns: Sequence[str], rows: Sequence[Row]) -> Guess:
    asked = find_column(columns, _QUESTIONS)
    others = [c for c in columns if c != asked]
    if asked is None or find_column(others, OUTPUTS) is not None:
        return Guess(0.0)
    return Guess(share(rows, lambda row: _only_texts(row.get(asked)) and not any(_nested(row.get(c)) for c in others)))


def _only_texts(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


def _nested(value: object) -> bool:
    """Whether a value may hold answers inside."""
    return isinstance(value, dict | list) and bool(value)


def _convert(row: Row, mapping: Mapping | None) -> Draft:
    return refused("data_type", "holds a question without an answer. Add the answer.")


FORMAT = RowFormat(
    name="questions_only",
    title="Questions without answers",
    shape='{"prompt": "…"}',
    priority=5,
    guess=_guess,
    convert=_convert,
    usable=False,
    refusal="Add a column with the answer to each question, for example completion.",
)
