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
MOST_SPANS = 20  # of one text
MOST_PARTS = 3  # messages of one row that are shown
_PLACEHOLDER = re.compile(r"\[[A-Z][A-Z_]*_\d+\]")


@dataclass(frozen=True)
class Piece:
    """A stretch of text, marked or not."""

    text: str
    is_marked: bool


@dataclass(frozen=True)
class Part:
    """One text of a row with what was found in it. ``role`` is its message's, ``tool`` for what a tool is called with, and
    ``rejected`` for the worse answer of a pair. ``after`` is empty unless a placeholder will stand there."""

    role: str
    before: list[Piece]
    after: list[Piece]


@dataclass(frozen=True)
class PersonalExample:
    """One row that holds personal data. ``parts`` is empty when an edit took it out. ``is_left_out`` says that the
    decisions keep the whole row out of snapshots, be it for another kind."""

    example: Example
    parts: list[Part]
    is_left_out: bool


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
    items = [personal_example(row, kind, policy) for row in full_rows(dataset, examples)]
    return ExamplePage(items, shown[-1] if len(numbers) > limit else None)


def personal_example(row: ExampleRow, kind: str, policy: dict[str, str]) -> PersonalExample:
    """The texts of a row that hold ``kind``, with the spans marked, as they are and as ``policy`` will leave them."""
    from finetune_engine.data.pii import find_pii, mask_messages, read_policy
    from finetune_engine.data.pii.mask import context_of

    worse = list(row.text.rejected or [])
    masked = mask_messages(row.messages, read_policy(policy), rejected=worse)
    is_masked = policy.get(kind) == PiiAction.MASK
    parts: list[Part] = []
    pairs = zip(_texts(row.messages, worse), _texts(masked.messages, masked.rejected), strict=False)
    for (role, text, name), (_role, after, _name) in pairs:
        skip = len(context_of(name))
        found = [span for span in find_pii(context_of(name) + text) if span.kind == kind and span.start >= skip]
        if not found:
            continue
        marks = [match.span() for match in _PLACEHOLDER.finditer(after)] if is_masked else []
        parts.append(
            Part(
                role=role,
                before=_marked(text, [(span.start - skip, span.end - skip) for span in found]),
                after=_marked(after, marks) if is_masked else [],
            )
        )
        if len(parts) == MOST_PARTS:
            break
    return PersonalExample(row.example, parts, bool(masked.reject))


def _texts(messages: list[dict[str, Any]], worse: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """``(role, text, key)`` of every text of a row, always in the same order; ``key`` is what a text stands under in the
    arguments of a tool."""
    from finetune_engine.data.message_texts import argument_texts, written_texts

    found = []
    for message in messages:
        role = str(message.get("role", ""))
        found += [(role, text, "") for _path, text in written_texts([message])]
        found += [("tool", text, key) for _path, text, key in argument_texts([message])]
    return found + [("rejected", text, "") for _path, text in written_texts(worse)]


def _marked(text: str, spans: Iterable[tuple[int, int]]) -> list[Piece]:
    """The text around the spans, with an ellipsis where something was left out."""
    pieces: list[Piece] = []
    position = 0
    spans = sorted(spans)[:MOST_SPANS]
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
