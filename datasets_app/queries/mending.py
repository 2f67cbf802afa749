"""The rows that wait to be mended, with what is wrong with each, and those that were mended just now."""

from __future__ import annotations

from dataclasses import dataclass, field

from datasets_app.choices import Decision, Status, code_title
from datasets_app.models import Dataset, Example
from datasets_app.queries.rows import ExampleRow, full_rows, visible

PAGE_ROWS = 20
LONGEST_CELL = 10_000  # characters
LOOK_AT = 2_000  # rejected rows that one page looks at, when most are no mistakes
_NOT_TO_MEND = {"duplicate_exact"}  # codes that no other text would help


@dataclass(frozen=True)
class MendRow:
    """One row of the grid. ``prompt`` and ``answer`` are what stands in its cells."""

    example: Example
    line: int | None
    prompt: str
    answer: str
    original: str
    could_be_read: bool
    earlier_turns: int
    reasons: list[str]
    error: str = ""
    error_field: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def prompt_is_long(self) -> bool:
        """Whether the input is too long for a cell; it is then edited on the row's own page."""
        return len(self.prompt) > LONGEST_CELL

    @property
    def answer_is_long(self) -> bool:
        """The same for the answer."""
        return len(self.answer) > LONGEST_CELL

    @property
    def is_done(self) -> bool:
        """Whether the row is accepted now."""
        return self.example.status != Status.REJECTED


@dataclass(frozen=True)
class MendPage:
    """Some rows of the grid; ``next_cursor`` is the row to go on after, None at the end. ``has_passed_over`` says that
    there were repetitions or rows that somebody left out on purpose."""

    items: list[MendRow]
    next_cursor: int | None
    has_passed_over: bool


def mend_page(dataset: Dataset, after: int = 0, limit: int = PAGE_ROWS) -> MendPage:
    """Rejected rows after row ``after`` that another text could mend, and between them those that a person has mended."""
    waiting, cursor, left_out = _waiting(dataset, after, limit)
    mended = _mended(dataset, after, cursor)
    examples = sorted([*waiting, *mended], key=lambda example: example.row)
    return MendPage([mend_row_of(row) for row in full_rows(dataset, examples)], cursor, left_out)


def mend_row_of(
    row: ExampleRow,
    *,
    prompt: str | None = None,
    answer: str | None = None,
    error: str = "",
    error_field: str = "",
    notes: list[str] | None = None,
) -> MendRow:
    """A row for the grid; ``prompt`` and ``answer`` are what somebody typed, when it is not stored."""
    example = row.example
    turns = [message for message in row.messages if message.get("role") in {"user", "assistant"}]
    return MendRow(
        example=example,
        line=row.text.line,
        prompt=row.prompt if prompt is None else prompt,
        answer=row.answer if answer is None else answer,
        original=row.text.original,
        could_be_read=bool(row.text.messages),
        earlier_turns=max(0, len(turns) - 2),
        reasons=_reasons(row),
        error=error,
        error_field=error_field,
        notes=notes or [],
    )


def _reasons(row: ExampleRow) -> list[str]:
    """Why the row is out, in whole sentences, each once."""
    found = [finding.message for finding in row.findings if finding.severity == "error"]
    found = found or [finding.message for finding in row.findings] or [code_title(code) for code in row.example.codes]
    return list(dict.fromkeys(found))


def _waiting(dataset: Dataset, after: int, limit: int) -> tuple[list[Example], int | None, bool]:
    """Up to ``limit`` rows to mend, where to go on, and whether others were passed over."""
    found: list[Example] = []
    looked, passed = 0, False
    while looked < LOOK_AT:
        rows = visible(dataset).filter(status=Status.REJECTED, row__gt=after).order_by("row")
        batch = list(rows[: limit * 5])
        for example in batch:
            if len(found) == limit:
                return found, found[-1].row, passed
            after = example.row
            if example.decision == Decision.REJECT or (example.codes and set(example.codes) <= _NOT_TO_MEND):
                passed = True
            else:
                found.append(example)
        looked += len(batch)
        if len(batch) < limit * 5:
            return found, None, passed
    return found, after, passed


def _mended(dataset: Dataset, after: int, until: int | None) -> list[Example]:
    """Rows between the two that the checks rejected and a person edited; looks at a bounded number of decisions."""
    decided = visible(dataset).exclude(decision=Decision.NONE).filter(row__gt=after)
    if until is not None:
        decided = decided.filter(row__lte=until)
    return [
        example
        for example in decided.order_by("row")[:200]
        if example.checked_status == Status.REJECTED
        and example.decision == Decision.EDIT
        and example.status != Status.REJECTED
    ]
