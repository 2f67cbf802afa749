"""Alpaca rows: ``{"instruction", "input"?, "output", "system"?, "history"?}`` and Dolly's names for the same."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_engine.data.formats.mapped import convert_mapped
from finetune_engine.data.formats.row_format import Guess, Row, RowFormat, find_column, share, split_column
from finetune_engine.data.records import Draft, Finding, Mapping, Message


def _guess(columns: Sequence[str], rows: Sequence[Row]) -> Guess:
    instruction = find_column(columns, ("instruction", "instructions"))
    output = find_column(columns, ("output", "response", "answer", "completion", "target"))
    if instruction is None or output is None:
        return Guess(0.0)
    given = find_column(columns, ("input", "context", "inputs"))
    system = find_column(columns, ("system", "system prompt", "systemprompt"))
    mapping = Mapping(
        prompt=(instruction, given) if given else (instruction,),
        completion=output,
        system=system,
        split=split_column(columns, rows),
    )
    return Guess(share(rows, lambda row: instruction in row and output in row), mapping)


def _convert(row: Row, mapping: Mapping | None) -> Draft:
    draft = convert_mapped(row, mapping)
    history = draft.metadata.pop("history", None)
    if history and draft.messages:
        _put_before(draft, history)
    return draft


def _put_before(draft: Draft, history: object) -> None:
    """Earlier question-answer pairs become earlier turns."""
    turns: list[Message] = []
    for pair in history if isinstance(history, list) else [history]:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(p, str) for p in pair)):
            message = "has a history that is not a list of [question, answer] pairs."
            draft.findings.append(Finding("data_type", message, column="history", expected="[question, answer] pairs"))
            return
        turns += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    at = 1 if draft.messages[0]["role"] == "system" else 0
    draft.messages[at:at] = turns


FORMAT = RowFormat(
    name="alpaca",
    title="Instruction, input, output",
    shape='{"instruction": "…", "input": "…", "output": "…"}',
    priority=70,
    guess=_guess,
    convert=_convert,
)
