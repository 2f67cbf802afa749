"""Which format a file is in, and what kind of task its rows are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from finetune_engine.data.formats import all_formats, format_named
from finetune_engine.data.formats.row_format import RowFormat
from finetune_engine.data.readers.object_lists import LIST_COLUMN, SPLIT_COLUMN
from finetune_engine.data.records import Draft, Finding, Mapping, RawRecord, quoted
from finetune_engine.errors import Place, UserError

SAMPLE_ROWS = 100
MAX_LABELS = 50
_GOOD_SCORE = 0.5


@dataclass(frozen=True)
class Detected:
    """A format and the columns it reads (None when the format has its own structure)."""

    format: RowFormat
    mapping: Mapping | None
    columns: tuple[str, ...]

    def convert(self, value: dict[str, Any]) -> Draft:
        """The example in a row; a row in another format is read as that and marked ``mixed_formats``."""
        draft = self.format.convert(value, self.mapping)
        if draft.messages and not draft.findings:
            return draft
        return self._convert_as_other(value) or draft

    def _convert_as_other(self, value: dict[str, Any]) -> Draft | None:
        columns = list(value)
        if self.mapping is not None and self.mapping.used() <= value.keys():
            return None
        for other in all_formats():
            if other is self.format or not other.usable or other.name == "text":
                continue
            guess = other.guess(columns, [value])
            if guess.score == 1.0 and self.format.guess(columns, [value]).score < 1.0:
                draft = other.convert(value, guess.mapping)
                if draft.messages and not draft.findings:
                    draft.findings.append(_mixed(other, self.format))
                    return draft
        return None


def _mixed(found: RowFormat, expected: RowFormat) -> Finding:
    return Finding(
        "mixed_formats",
        f"is written as {quoted(found.title.lower())} while the file is {quoted(expected.title.lower())}; it was read as it is.",
        found=found.title,
        expected=expected.title,
        fix="Write all rows in one format.",
    )


def columns_of(rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Every name that occurs, in order of first sight."""
    return tuple(dict.fromkeys(key for row in rows for key in row))


def detect_format(
    records: Sequence[RawRecord], *, name: str, wanted: str = "auto", mapping: Mapping | None = None
) -> Detected | None:
    """The format of the sampled records.

    None when nothing could be read in the sample. UserError: ``wrong_columns`` (with what was found and what
    would do), ``unsupported_format``, ``bad_mapping``, ``unknown_format``.
    """
    rows = [r.value for r in records if r.value]
    if not rows:
        return None
    columns = columns_of(rows)
    if mapping is not None:
        return _mapped(_with_split_of_lists(mapping, rows), columns, name, wanted)
    chosen = _chosen(wanted, columns, rows) if wanted != "auto" else _best(columns, rows)
    if chosen is None:
        raise _wrong_columns(columns, rows, name, wanted)
    if not chosen.format.usable:
        raise UserError(
            "unsupported_format",
            f"{name} holds {chosen.format.title.lower()}. {chosen.format.refusal}",
            place=Place(file=name, found=", ".join(columns[:12]), expected=_shapes(), fix=chosen.format.refusal),
        )
    return chosen


def _best(columns: tuple[str, ...], rows: Sequence[dict[str, Any]]) -> Detected | None:
    guesses = [(f, f.guess(columns, rows)) for f in all_formats()]
    good = [(f, g) for f, g in guesses if g.score >= _GOOD_SCORE]
    if not good:
        good = sorted((p for p in guesses if p[1].score > 0), key=lambda p: -p[1].score)
    return Detected(good[0][0], good[0][1].mapping, columns) if good else None


def _chosen(wanted: str, columns: tuple[str, ...], rows: Sequence[dict[str, Any]]) -> Detected | None:
    chosen = format_named(wanted)
    if chosen is None:
        names = ", ".join(f.name for f in all_formats() if f.usable)
        raise UserError("unknown_format", f"“{wanted}” is not a format we read. Choose one of {names}.", field="format")
    guess = chosen.guess(columns, rows)
    return Detected(chosen, guess.mapping, columns) if guess.score > 0 or not chosen.usable else None


def _mapped(mapping: Mapping, columns: tuple[str, ...], name: str, wanted: str) -> Detected:
    named = [*mapping.prompt, mapping.completion, mapping.system, mapping.label, mapping.group, mapping.split]
    for column in named:
        if column is not None and column not in columns and not (column == SPLIT_COLUMN and LIST_COLUMN in columns):
            raise UserError(
                "bad_mapping",
                f"{name} has no column {quoted(column)}. Its columns are {', '.join(columns[:20])}.",
                field="mapping",
                place=Place(file=name, column=column, found=", ".join(columns[:20]), expected=column),
            )
    is_label = mapping.label is not None and mapping.label == mapping.completion
    chosen = format_named(
        wanted if wanted in ("text_label", "alpaca") else "text_label" if is_label else "input_output"
    )
    assert chosen is not None
    return Detected(chosen, mapping, columns)


def _with_split_of_lists(mapping: Mapping, rows: Sequence[dict[str, Any]]) -> Mapping:
    """Rows that come from named lists (train, test, ...) keep their list's split unless another column is chosen."""
    from_lists = all(isinstance(row.get(LIST_COLUMN), str) for row in rows)
    return replace(mapping, split=SPLIT_COLUMN) if from_lists and mapping.split is None else mapping


def _shapes() -> str:
    return " or ".join(f.shape for f in all_formats() if f.usable)


def _wrong_columns(columns: tuple[str, ...], rows: Sequence[dict[str, Any]], name: str, wanted: str) -> UserError:
    found = ", ".join(columns[:12]) + (f" and {len(columns) - 12} more" if len(columns) > 12 else "")
    if all(isinstance(row.get(LIST_COLUMN), str) for row in rows):
        return _choose_columns_of_lists(columns, rows, name)
    nested = len(rows) == 1 and any(isinstance(v, list | dict) and v for v in rows[0].values())
    if nested:
        sentence = (
            f"{name} is one object ({found}), not a list of examples. "
            'Write it as a list with one object per example, such as [{"text": "…", "label": "…"}, …].'
        )
    elif wanted != "auto" and (chosen := format_named(wanted)):
        sentence = f"{name} does not fit {chosen.title.lower()}: it has the columns {found}. Expected {chosen.shape}."
    else:
        sentence = (
            f"{name} has the columns {found}, and none of them is known as an input with an answer. "
            "Name them prompt and completion, or text and label, or choose the columns yourself."
        )
    fix = "Rename the columns, or choose which column is the input and which the answer."
    return UserError("wrong_columns", sentence, place=Place(file=name, found=found, expected=_shapes(), fix=fix))


def _choose_columns_of_lists(columns: tuple[str, ...], rows: Sequence[dict[str, Any]], name: str) -> UserError:
    names = [column for column in columns if column not in (LIST_COLUMN, SPLIT_COLUMN)]
    first = ", ".join(f"{column} ({quoted(rows[0].get(column, ''), 30)})" for column in names[:6])
    sentence = (
        f"{name} is one object whose values are lists of rows. Choose which column is the input and which the answer: "
        f"its columns are {first} and the name of the list ({quoted(rows[0][LIST_COLUMN], 30)})."
    )
    fix = "Choose the column of the input and the column of the answer; you may also choose the lists to read."
    found = ", ".join([*names, LIST_COLUMN])
    return UserError("wrong_columns", sentence, place=Place(file=name, found=found, expected="chosen columns", fix=fix))


@dataclass
class AnswerTally:
    """Counts of answers, to tell a classification task (``tally.WholeSet`` fills them in while rows stream by)."""

    limit: int = 5000

    def __post_init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.rows = self.words = self.short = self.multi_turn = 0

    @property
    def mostly_short(self) -> bool:
        """Whether nearly all answers are a few words."""
        return self.rows > 0 and self.short >= 0.8 * self.rows

    def looks_like_labels(self) -> bool:
        """Few distinct short answers that come back again and again."""
        distinct = len(self.counts)
        return self.mostly_short and distinct <= MAX_LABELS and distinct * 3 <= max(self.rows, 1) and self.rows >= 6


def task_type_of(detected: Detected, tally: AnswerTally) -> str:
    """``classification``, ``preference``, ``chat`` or ``completion``."""
    name = detected.format.name
    if name in ("preference", "openai_preference", "kto"):  # also where the answers are a word or two
        return "preference"
    if name == "text_label" and tally.mostly_short and len(tally.counts) <= max(MAX_LABELS, tally.rows // 2):
        return "classification"
    if name not in ("text", "text_label") and not tally.multi_turn and tally.looks_like_labels():
        return "classification"
    return "chat" if name in ("messages", "sharegpt") else "completion"
