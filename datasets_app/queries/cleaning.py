"""How texts are cleaned: the steps with what each changed, and what a plan would do to real rows."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from datasets_app.chunks import row_texts
from datasets_app.models import Dataset
from datasets_app.queries.policy import checked_plan
from datasets_app.queries.rows import visible
from datasets_app.word_diff import Piece, clipped, word_diff

SAMPLE_ROWS = 300  # rows that one preview looks at, and some times more while none changes
MOST_ROUNDS = 4
LONGEST_LOOK = 0.1  # seconds after which it looks no further
SHOWN_ROWS = 8  # of those, how many changed ones are shown
LONGEST_TEXT = 20_000  # characters of one text that a preview cleans
WITH_RULES = ("boilerplate", "replacements")  # steps that run when they have rules; no switch of their own


@dataclass(frozen=True)
class StepLine:
    """One step. ``rows`` is how many rows of the dataset it changed at the last check."""

    name: str
    title: str
    description: str
    is_on: bool
    has_switch: bool
    rows: int


@dataclass(frozen=True)
class CleanedText:
    """One text that the plan changes: which column, by which steps, and how."""

    column: str
    steps: list[str]
    pieces: list[Piece]


@dataclass(frozen=True)
class CleanedRow:
    """One row that the plan changes."""

    row: int
    texts: list[CleanedText]


@dataclass(frozen=True)
class CleaningPreview:
    """What a plan does to ``looked_at`` rows: ``changed`` of them change, the first are in ``items``.

    ``next_cursor`` is the row to go on after, None when all rows were looked at.
    """

    items: list[CleanedRow]
    looked_at: int
    changed: int
    next_cursor: int | None


def step_lines(dataset: Dataset, options: dict[str, Any]) -> list[StepLine]:
    """Every step in the order in which it runs, switched as ``options`` say."""
    from finetune_engine.data.cleaning import DEFAULT_STEPS, STEPS

    chosen = DEFAULT_STEPS if options.get("cleaning") is None else options["cleaning"]
    return [
        StepLine(
            name=step.name,
            title=step.title,
            description=step.description,
            is_on=bool(options.get(step.name)) if step.name in WITH_RULES else step.name in chosen,
            has_switch=step.name not in WITH_RULES,
            rows=int(dataset.cleaning.get(step.name, 0)),
        )
        for step in STEPS
    ]


def cleaning_preview(dataset: Dataset, options: dict[str, Any], after: int = 0) -> CleaningPreview:
    """Clean the rows after row ``after`` as they were uploaded, and show the first that change. Nothing is stored.

    Raises UserError for options that cannot be used.
    """
    from finetune_engine.data.cleaning import STEPS

    plan = checked_plan(options)
    titles = {step.name: step.title for step in STEPS}
    stop_at = time.monotonic() + LONGEST_LOOK
    items: list[CleanedRow] = []
    looked_at = changed = 0
    cursor: int | None = after
    for _round in range(MOST_ROUNDS):
        examples = list(visible(dataset).filter(row__gt=cursor).order_by("row")[: SAMPLE_ROWS + 1])
        sample = examples[:SAMPLE_ROWS]
        texts = row_texts(dataset, sample)
        for example in sample:
            text = texts[example.row]
            found = _cleaned(dataset, text.original, plan, titles) if text.messages else []
            changed += bool(found)
            if found and len(items) < SHOWN_ROWS:
                items.append(CleanedRow(example.row, found))
        looked_at += len(sample)
        cursor = sample[-1].row if len(examples) > SAMPLE_ROWS else None
        if cursor is None or len(items) == SHOWN_ROWS or time.monotonic() > stop_at:
            break
    return CleaningPreview(items, looked_at, changed, cursor)


def _cleaned(dataset: Dataset, original: str, plan: Any, titles: dict[str, str]) -> list[CleanedText]:
    """The texts of an uploaded row that the plan changes."""
    from finetune_engine.data.cleaning import clean_text

    found: list[CleanedText] = []
    for column, text in uploaded_texts(dataset, original):
        before = text[:LONGEST_TEXT]
        cleaned, steps = clean_text(before, plan)
        if steps:
            pieces = clipped(word_diff(before, cleaned, show_blanks=True), 80)
            found.append(CleanedText(column, [titles.get(step, step) for step in steps], pieces))
    return found


def uploaded_texts(dataset: Dataset, original: str) -> Iterator[tuple[str, str]]:
    """``(column, text)`` of the parts of an uploaded row that training will see, before any cleaning."""
    mapping = dataset.mapping or {}
    prompt = mapping.get("prompt") or []
    parts = [prompt] if isinstance(prompt, str) else list(prompt)
    wanted = {*parts, mapping.get("completion"), mapping.get("system")} - {None, ""}
    for column, text in _columns(dataset, original):
        root = column.split(".")[0].split("[")[0]
        if text and (not wanted or root in wanted or column in wanted):
            yield column, text


def _columns(dataset: Dataset, original: str) -> Iterator[tuple[str, str]]:
    try:
        value = json.loads(original)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        yield from _leaves("", value)
        return
    cells = next((c for d in ",;\t|" if len(c := _cells(original, d)) == len(dataset.columns)), None)
    if cells is not None:
        yield from zip(dataset.columns, cells, strict=True)
    else:
        yield "", original


def _leaves(path: str, value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and not path.endswith((".role", ".from", "_id")):
        yield path, value
    elif isinstance(value, dict) and depth < 6:
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), inner, depth + 1)
    elif isinstance(value, list) and depth < 6:
        for number, inner in enumerate(value[:50]):
            yield from _leaves(f"{path}[{number}]", inner, depth + 1)


def _cells(original: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(original, newline=""), delimiter=delimiter), [])
    except csv.Error:
        return []
