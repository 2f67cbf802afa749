"""Rows of a dataset, page by page. The cost of a page does not grow with the dataset: every query walks an index
from the cursor, and a search looks at a bounded window of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from datasets_app import chunks
from datasets_app.choices import SPLITS, Status, code_title
from datasets_app.models import Dataset, Example, Finding
from finetune_engine.errors import UserError

PAGE_ROWS = 50
MOST_ROWS = 200
SEARCH_WINDOW = 1_000  # rows that one page looks at when no index gives just the rows that fit
INDEX_WINDOW = 500  # the same when an index gives some of them: those are named one by one, which costs more
WIDE_WINDOW = 10_000  # the same for the part of a page that goes on searching by itself


@dataclass(frozen=True)
class RowFilters:
    """What a list is narrowed to; empty means everything. ``q`` is searched in the beginning of input and answer,
    ``assigned`` is the id of the person whom the rows are given to."""

    status: str = ""
    code: str = ""
    split: str = ""
    q: str = ""
    label: str = ""
    assigned: str = ""

    @classmethod
    def checked(
        cls, *, status: str = "", code: str = "", split: str = "", q: str = "", label: str = "", assigned: str = ""
    ) -> RowFilters:
        """The filters of a request. Raises UserError for a status or split that does not exist."""
        if status and status not in Status.values:
            raise UserError("unknown_status", f"A status is one of {', '.join(Status.values)}.", field="status")
        if split and split not in SPLITS:
            raise UserError("unknown_split", f"A split is one of {', '.join(SPLITS)}.", field="split")
        clean = [text.replace("\0", "") for text in (code[:40], split, q.strip()[:100], label[:200], assigned[:26])]
        return cls(status, *clean)

    @property
    def any(self) -> bool:
        """Whether anything is narrowed."""
        return any(vars(self).values())

    def without(self, name: str) -> RowFilters:
        """The same without one filter; ``name`` may be empty."""
        return replace(self, **{name: ""}) if name else self

    def as_dict(self) -> dict[str, str]:
        """The filters that narrow, by name."""
        return {name: value for name, value in vars(self).items() if value}


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
    def is_edited(self) -> bool:
        """Whether a person has given it another text."""
        return self.example.edited_messages is not None

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
    dataset: Dataset,
    cursor: int = 0,
    filters: RowFilters | None = None,
    limit: int = PAGE_ROWS,
    *,
    window: int | None = None,
    narrow: Callable[[QuerySet[Example]], QuerySet[Example]] | None = None,
) -> RowPage:
    """Up to ``limit`` rows after row ``cursor``, in the order of the file.

    One filter, the one that leaves fewest rows, is followed along its index; the others are asked of the ``window``
    rows that it gives next. ``narrow`` adds conditions that no index knows.
    """
    filters = filters or RowFilters()
    limit = max(1, min(limit, MOST_ROWS))
    leading = _leading(dataset, filters)
    rest = filters.without(leading)
    if not rest.any and narrow is None:
        rows, end = _following(dataset, leading, filters, cursor, limit + 1), None
    else:
        rows, end = _window(dataset, leading, filters, cursor, window or (INDEX_WINDOW if leading else SEARCH_WINDOW))
    rows = narrowed(rows, rest)
    items = list((narrow(rows) if narrow else rows).order_by("row")[: limit + 1])
    if len(items) > limit:
        return RowPage(items[:limit], items[limit - 1].row)
    return RowPage(items, end, searched_to=end)


@dataclass(frozen=True)
class RowWindow:
    """Some rows that fit, by number, ascending. ``end`` is the row to go on after, None at the end."""

    rows: list[int]
    end: int | None


def example_window(dataset: Dataset, cursor: int, filters: RowFilters, *, size: int) -> RowWindow:
    """Which of the next ``size`` rows that the leading filter gives fit all filters."""
    leading = _leading(dataset, filters)
    rows, end = _window(dataset, leading, filters, cursor, size)
    found = narrowed(rows, filters.without(leading)).order_by("row")
    return RowWindow(list(found.values_list("row", flat=True)), end)


def _leading(dataset: Dataset, filters: RowFilters) -> str:
    """The name of the filter whose index gives the fewest rows, empty when no filter has one."""
    sizes = {"status": getattr(dataset, filters.status) if filters.status else 0}
    sizes["code"] = dataset.codes.get(filters.code, 0)
    sizes["label"] = dataset.labels.get(filters.label, 0)
    sizes["split"] = dataset.total
    sizes["assigned"] = 0
    chosen = [name for name in ("assigned", "code", "label", "status", "split") if getattr(filters, name)]
    return min(chosen, key=lambda name: sizes[name], default="")


def _along(dataset: Dataset, leading: str, filters: RowFilters, cursor: int) -> QuerySet[Example]:
    """The rows after ``cursor`` that one filter leaves, by its index (not for ``code``)."""
    rows = visible(dataset).filter(row__gt=cursor)
    if leading == "status":
        return rows.filter(status=filters.status)
    if leading == "assigned":
        return rows.filter(assigned_to_id=filters.assigned)
    if leading in {"label", "split"}:  # the empty ones are not in the index, and SQLite wants to be told so
        return rows.filter(**{leading: getattr(filters, leading)}).exclude(**{leading: ""})
    return rows


def _following(dataset: Dataset, leading: str, filters: RowFilters, cursor: int, limit: int) -> QuerySet[Example]:
    if leading == "code":
        return visible(dataset).filter(row__in=rows_with_code(dataset, filters.code, after=cursor, limit=limit))
    return _along(dataset, leading, filters, cursor)


def _window(
    dataset: Dataset, leading: str, filters: RowFilters, cursor: int, size: int
) -> tuple[QuerySet[Example], int | None]:
    """The next ``size`` rows that the leading filter leaves, and the last of them (None: there are no more)."""
    if not leading:
        end = cursor + size
        return visible(dataset).filter(row__gt=cursor, row__lte=end), end if end < dataset.total else None
    if leading == "code":
        numbers = rows_with_code(dataset, filters.code, after=cursor, limit=size)
    else:
        found = _along(dataset, leading, filters, cursor).order_by("row")
        numbers = list(found.values_list("row", flat=True)[:size])
    return visible(dataset).filter(row__in=numbers), numbers[-1] if len(numbers) == size else None


def narrowed(rows: QuerySet[Example], filters: RowFilters) -> QuerySet[Example]:
    """These rows with every filter but ``code`` as a plain condition; ``code`` by the codes that the row carries."""
    for name, column in (("status", "status"), ("split", "split"), ("label", "label"), ("assigned", "assigned_to_id")):
        if value := getattr(filters, name):
            rows = rows.filter(**{column: value})
    if filters.code:
        rows = rows.filter(_has_finding(filters.code))
    if filters.q:
        rows = rows.filter(Q(prompt_head__icontains=filters.q) | Q(answer_head__icontains=filters.q))
    return rows


def _has_finding(code: str) -> Exists:
    same = {name: OuterRef(name) for name in ("dataset", "import_attempt", "row")}
    return Exists(Finding.objects.filter(code=code, **same))


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


def full_rows(dataset: Dataset, examples: list[Example], *, with_findings: bool = True) -> list[ExampleRow]:
    """These rows with their text and findings."""
    texts = chunks.row_texts(dataset, examples)
    findings = findings_of(dataset, [example.row for example in examples]) if with_findings else {}
    return [ExampleRow(e, texts[e.row], findings.get(e.row, [])) for e in examples]


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
