"""An input and an output under the usual names, or any table through a column mapping."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_engine.data.formats.mapped import convert_mapped
from finetune_engine.data.formats.row_format import Guess, Row, RowFormat, find_column, share, split_column
from finetune_engine.data.records import Draft, Mapping

INPUTS = (
    "input", "inputs", "question", "query", "prompt", "instruction", "source", "user", "text", "context", "document",
    "article", "message", "request", "problem",
)  # fmt: skip
OUTPUTS = (
    "output", "outputs", "answer", "response", "target", "targets", "completion", "reply", "assistant", "summary",
    "translation", "solution", "result",
)  # fmt: skip


def _guess(columns: Sequence[str], rows: Sequence[Row]) -> Guess:
    output = find_column(columns, OUTPUTS)
    given = find_column([c for c in columns if c != output], INPUTS)
    if given is None or output is None:
        return Guess(0.0)
    system = find_column(columns, ("system", "systemprompt"))
    mapping = Mapping((given,), output, system, split=split_column(columns, rows))
    return Guess(share(rows, lambda row: given in row and output in row), mapping)


def _convert(row: Row, mapping: Mapping | None) -> Draft:
    return convert_mapped(row, mapping)


FORMAT = RowFormat(
    name="input_output",
    title="Input and output",
    shape='{"input": "…", "output": "…"}',
    priority=40,
    guess=_guess,
    convert=_convert,
)
