"""Personal data of a dataset in its context, and what will stand there once it is frozen."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from datasets_app.choices import PiiAction
from datasets_app.models import Dataset, Example, Finding
from datasets_app.queries.rows import ExampleRow, full_rows, visible

PAGE_EXAMPLES = 5
AROUND = 140  # characters shown beside what was found
MOST_PARTS = 3  # messages of one row that are shown
_PLACEHOLDER = re.compile(r"\[[A-Z][A-Z_]*_\d+\]")


@dataclass(frozen=True)
class Piece:
    """A stretch of text, marked or not."""

    text: str
    is_marked: bool


@dataclass(frozen=True)
class Part:
    """One message of a row with what was found in it. ``after`` is empty unless a placeholder will stand there."""

    role: str
    before: list[Piece]
    after: list[Piece]


@dataclass(frozen=True)
class PersonalExample:
    """One row that holds personal data. ``parts`` is empty when an edit took it out."""

    example: Example
    parts: list[Part]


@dataclass(frozen=True)
class ExamplePage:
    """Some rows with one kind of personal data; ``next_cursor`` is the row to go on after, None at the end."""

    items: list[PersonalExample]
    next_cursor: int | None


def personal_examples(
    dataset: Dataset, kind: str, policy: dict[str, str], after: int = 0, limit: int = PAGE_EXAMPLES
) -> ExamplePage:
    """Rows after row ``after`` in which ``kind`` was found, as they are and as ``policy`` will leave them."""
    found = Finding.objects.filter(
        dataset=dataset, import_attempt=dataset.visible_attempt, kind=kind, row__gt=after
    ).order_by("row")
    numbers = list(found.values_list("row", flat=True).distinct()[: limit + 1])
    shown = numbers[:limit]
    examples = list(visible(dataset).filter(row__in=shown).order_by("row"))
    items = [PersonalExample(row.example, parts_of(row, kind, policy)) for row in full_rows(dataset, examples)]
    return ExamplePage(items, shown[-1] if len(numbers) > limit else None)


def parts_of(row: ExampleRow, kind: str, policy: dict[str, str]) -> list[Part]:
    """The messages of a row that hold ``kind``, with the spans marked."""
    from finetune_engine.data.pii import find_pii, mask_messages

    masked: list[dict[str, Any]] | None = None
    if policy.get(kind) == PiiAction.MASK:
        masked = mask_messages(row.messages, policy).messages
    parts: list[Part] = []
    for number, message in enumerate(row.messages):
        text = _text(message)
        spans = [(span.start, span.end) for span in find_pii(text) if span.kind == kind] if text else []
        if not spans:
            continue
        after = _text(masked[number]) if masked is not None else ""
        parts.append(
            Part(
                role=str(message.get("role", "")),
                before=_marked(text, spans),
                after=_marked(after, [match.span() for match in _PLACEHOLDER.finditer(after)]),
            )
        )
        if len(parts) == MOST_PARTS:
            break
    return parts


def _text(message: dict[str, Any]) -> str:
    return str(message.get("content") or "")


def _marked(text: str, spans: Iterable[tuple[int, int]]) -> list[Piece]:
    """The text around the spans, with an ellipsis where something was left out."""
    pieces: list[Piece] = []
    position = 0
    spans = sorted(spans)
    for start, end in spans:
        between = text[position:start]
        pieces.append(Piece(_clip(between, is_first=position == 0), False))
        pieces.append(Piece(text[start:end], True))
        position = end
    rest = text[position:]
    if rest:
        pieces.append(Piece(rest if len(rest) <= AROUND else rest[:AROUND] + " \N{HORIZONTAL ELLIPSIS}", False))
    return [piece for piece in pieces if piece.text]


def _clip(text: str, *, is_first: bool) -> str:
    if is_first:
        return text if len(text) <= AROUND else "\N{HORIZONTAL ELLIPSIS} " + text[-AROUND:]
    return text if len(text) <= 2 * AROUND else f"{text[:AROUND]} \N{HORIZONTAL ELLIPSIS} {text[-AROUND:]}"
