"""KTO rows: ``{"prompt", "completion", "label": true or false}``: one answer each, wanted or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetune_engine.data.formats import prompt_completion
from finetune_engine.data.formats.row_format import Guess, Row, RowFormat, find_column, share
from finetune_engine.data.records import Draft, Finding, Mapping, kind_of

_TRUTH = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
_LABELS = ("label", "desirable")


def _guess(columns: Sequence[str], rows: Sequence[Row]) -> Guess:
    label = find_column(columns, _LABELS)
    guess = prompt_completion.FORMAT.guess(columns, rows)
    if label is None or guess.mapping is None:
        return Guess(0.0)
    # 0 and 1 alone are no sign: they are the labels of many a classification task.
    says = share(rows, lambda row: str(row.get(label)).strip().lower() in ("true", "false"))
    return Guess(min(says, guess.score), guess.mapping)


def _desirable(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | str):
        return _TRUTH.get(str(value).strip().lower())
    return None


def _convert(row: Row, mapping: Mapping | None) -> Draft:
    draft = prompt_completion.FORMAT.convert(row, mapping)
    label = find_column(list(row), _LABELS)
    draft.desirable = _desirable(row.get(label)) if label is not None else None
    if draft.desirable is None:
        fix = "Write true for a good answer and false for a bad one."
        draft.findings.append(
            Finding(
                "data_type",
                f"does not say whether its answer is wanted. {fix}",
                column=label or "label",
                found=kind_of(row.get(label)) if label else "nothing",
                expected="true or false",
                fix=fix,
            )
        )
    if label is not None:
        draft.metadata.pop(label, None)
        draft.label = None
    return draft


FORMAT = RowFormat(
    name="kto",
    title="Prompt, completion and whether it is wanted",
    shape='{"prompt": "…", "completion": "…", "label": true}',
    priority=95,
    guess=_guess,
    convert=_convert,
)
