"""What a format is: a way to recognise rows and a way to read one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from finetune_engine.data.records import Draft, Finding, Mapping, Message, kind_of, quoted

Row = dict[str, Any]


@dataclass(frozen=True)
class Guess:
    """How well a format fits: ``score`` from 0 to 1, and the columns it would read (None when it needs none)."""

    score: float
    mapping: Mapping | None = None


@dataclass(frozen=True)
class RowFormat:
    """One format. A new one is one file in this folder with a module-level ``FORMAT``.

    ``priority`` settles ties (higher first). ``guess`` looks at the columns and some rows; ``convert`` reads one
    row and never raises. ``usable`` is False for a format we recognise only to explain why it is refused.
    """

    name: str
    title: str
    shape: str
    priority: int
    guess: Callable[[Sequence[str], Sequence[Row]], Guess]
    convert: Callable[[Row, Mapping | None], Draft]
    usable: bool = True
    refusal: str = field(default="")


def share(rows: Sequence[Row], fits: Callable[[Row], bool]) -> float:
    """The share of rows that fit, 0 for no rows."""
    return sum(map(fits, rows)) / len(rows) if rows else 0.0


def find_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The first column called one of ``names`` (earlier names win), whatever its case, blanks or underscores."""
    plain = {"".join(c.lower().replace("_", " ").replace("-", " ").split()): c for c in reversed(columns)}
    return next((plain[n] for n in names if n in plain), None)


def refused(code: str, message: str, **details: Any) -> Draft:
    """A draft that cannot be used, for one reason."""
    return Draft(findings=[Finding(code, message, **details)])


def as_text(value: Any) -> str | None:
    """A scalar as the text a person would write; None when it is not one (a list, an object, nothing)."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return None


def text_at(row: Row, column: str, findings: list[Finding]) -> str:
    """The text in a column ("" when there is none); a list or object there is a ``data_type`` finding."""
    value = row.get(column)
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    text = as_text(value)
    if text is None:
        kind = kind_of(value)
        findings.append(
            Finding(
                "data_type",
                f"has {kind} in {quoted(column)} where text was expected. Write it as text.",
                column=column,
                found=kind,
                expected="text",
                fix="Write it as text.",
            )
        )
        return ""
    return text


def conversation(prompt: str, answer: str, system: str = "") -> list[Message]:
    """One question and one answer, with instructions before them if there are any."""
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return [{"role": "system", "content": system}, *messages] if system.strip() else messages


def leftovers(row: Row, used: frozenset[str], wanted: tuple[str, ...] | None) -> dict[str, Any]:
    """Columns kept as metadata: the wanted ones, or all that have no other part."""
    if wanted is not None:
        return {key: row[key] for key in wanted if key in row}
    return {key: value for key, value in row.items() if key not in used}


_SPLITS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation", "eval": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
SPLIT_COLUMNS = ("split", "subset", "fold", "partition")


def split_name(value: Any) -> str | None:
    """``train``, ``validation`` or ``test`` for the usual spellings; None for anything else."""
    return _SPLITS.get(value.strip().lower()) if isinstance(value, str) else None


def split_column(columns: Sequence[str], rows: Sequence[Row]) -> str | None:
    """A column that holds split names, or nothing, in every row that was looked at."""
    column = find_column(columns, SPLIT_COLUMNS)
    filled = [row[column] for row in rows if row.get(column) not in (None, "")] if column else []
    return column if filled and all(map(split_name, filled)) else None
