"""Rows of a dataset, page by page. The cost of a page does not grow with the dataset: every query walks an index
from the cursor, and a search looks at a bounded window of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from datasets_app import chunks
from datasets_app.choices import SPLITS, Status, code_title
from datasets_app.models import Dataset, Example, Finding
from finetune_engine.errors import UserError

PAGE_ROWS = 50
MOST_ROWS = 200
SEARCH_WINDOW = 20_000


@dataclass(frozen=True)
class RowFilters:
    """What a list is narrowed to; empty means everything. ``q`` is searched in the beginning of input and answer."""

    status: str = ""
    code: str = ""
    split: str = ""
    q: str = ""

    @classmethod
    def checked(cls, *, status: str = "", code: str = "", split: str = "", q: str = "") -> RowFilters:
        """The filters of a request. Raises UserError for a status or split that does not exist."""
        if status and status not in Status.values:
            raise UserError("unknown_status", f"A status is one of {', '.join(Status.values)}.", field="status")
        if split and split not in SPLITS:
            raise UserError("unknown_split", f"A split is one of {', '.join(SPLITS)}.", field="split")
        return cls(status, code[:40], split, q.strip()[:100])

    @property
    def any(self) -> bool:
        """Whether anything is narrowed."""
        return bool(self.status or self.code or self.split or self.q)


@dataclass(frozen=True)
class RowPage:
    """One page of rows. ``next_cursor`` is the row to go on after, None at the end. ``searched_to`` is the last row
    that a search looked at when it stopped before the end."""

    items: list[Example]
    next_cursor: int | None
    searched_to: int | None = None
    previous_cursor: None = None


@dataclass(frozen=True)
class ExampleRow:
    """One row in full, for its page and the API."""

    example: Example
    text: chunks.RowText
    findings: list[Finding]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The row as the model will see it: with the edit, if there is one."""
        return self.text.messages if self.example.edited_messages is None else self.example.edited_messages

    @property
    def label(self) -> str | None:
        """The label with the edit, if there is one."""
        return self.text.label if self.example.edited_label is None else self.example.edited_label

    @property
    def prompt(self) -> str:
        """The last thing the person says."""
        return next((str(m.get("content") or "") for m in reversed(self.messages) if m.get("role") == "user"), "")

    @property
    def answer(self) -> str:
        """What the model learns to say."""
        last = self.messages[-1] if self.messages else {}
        return str(last.get("content") or "") if last.get("role") == "assistant" else ""


def visible(dataset: Dataset) -> QuerySet[Example]:
    """The dataset's rows: those of the import that was committed."""
    return Example.objects.filter(dataset=dataset, import_attempt=dataset.visible_attempt)


def example_rows(
    dataset: Dataset, cursor: int = 0, filters: RowFilters | None = None, limit: int = PAGE_ROWS
) -> RowPage:
    """Up to ``limit`` rows after row ``cursor``, in the order of the file."""
    filters = filters or RowFilters()
    limit = max(1, min(limit, MOST_ROWS))
    rows = visible(dataset).filter(row__gt=cursor)
    if filters.status:
        rows = rows.filter(status=filters.status)
    window_end = None
    if filters.q or filters.split:
        window_end = cursor + SEARCH_WINDOW
        rows = rows.filter(row__lte=window_end)
        if filters.split:
            rows = rows.filter(split=filters.split)
        if filters.q:
            rows = rows.filter(prompt_head__icontains=filters.q) | rows.filter(answer_head__icontains=filters.q)
    items = _with_code(dataset, rows, cursor, filters.code, limit + 1, window_end)
    if len(items) > limit:
        return RowPage(items[:limit], items[limit - 1].row)
    if window_end is not None and window_end < dataset.total:
        return RowPage(items, window_end, searched_to=window_end)
    return RowPage(items, None)


def _with_code(
    dataset: Dataset, rows: QuerySet[Example], cursor: int, code: str, limit: int, window_end: int | None
) -> list[Example]:
    if not code:
        return list(rows.order_by("row")[:limit])
    found: list[Example] = []
    while len(found) < limit and (numbers := rows_with_code(dataset, code, after=cursor, limit=500)):
        cursor = numbers[-1]
        found += rows.filter(row__in=numbers).order_by("row")[: limit - len(found)]
        if window_end is not None and cursor >= window_end:
            break
    return found


def rows_with_code(dataset: Dataset, code: str, *, after: int, limit: int) -> list[int]:
    """The next row numbers after ``after`` with this finding, ascending, each once."""
    found = Finding.objects.filter(
        dataset=dataset, import_attempt=dataset.visible_attempt, code=code, row__gt=after
    ).order_by("row")
    return list(found.values_list("row", flat=True).distinct()[:limit])


def findings_of(dataset: Dataset, rows: list[int]) -> dict[int, list[Finding]]:
    """The findings of these rows, by row."""
    out: dict[int, list[Finding]] = {row: [] for row in rows}
    found = Finding.objects.filter(dataset=dataset, import_attempt=dataset.visible_attempt, row__in=rows)
    for finding in found.order_by("row", "id"):
        out[finding.row].append(finding)
    return out


def full_rows(dataset: Dataset, examples: list[Example]) -> list[ExampleRow]:
    """These rows with their text and findings."""
    texts = chunks.row_texts(dataset, examples)
    findings = findings_of(dataset, [example.row for example in examples])
    return [ExampleRow(e, texts[e.row], findings[e.row]) for e in examples]


def neighbours(dataset: Dataset, row: int, filters: RowFilters) -> int | None:
    """The next row after this one in the filtered list, None at its end (or past the search window)."""
    page = example_rows(dataset, row, filters, limit=1)
    return page.items[0].row if page.items else None


def rejected_rows(dataset: Dataset) -> Iterator[tuple[ExampleRow, str]]:
    """Every rejected row with its reasons in one sentence each, in the order of the file; read in batches."""
    cursor = 0
    while True:
        page = example_rows(dataset, cursor, RowFilters(status=Status.REJECTED), limit=MOST_ROWS)
        for row in full_rows(dataset, page.items):
            reasons = [f.message for f in row.findings] or [code_title(code) for code in row.example.codes]
            yield row, " ".join(reasons) or "Rejected by a person."
        if page.next_cursor is None:
            return
        cursor = page.next_cursor
