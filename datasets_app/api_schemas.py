"""What the native API of datasets takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Schema

from datasets_app.models import Dataset, Finding
from datasets_app.queries.rows import ExampleRow


class DatasetOut(Schema):
    """A dataset. ``counts`` and what follows are filled once ``status`` is ``ready``; ``error`` once it ``failed``."""

    id: str
    name: str
    status: Literal["processing", "ready", "failed"]
    created_at: datetime
    file: str
    file_id: str
    format: str | None
    file_type: str | None
    encoding: str | None
    task_type: str
    columns: list[str]
    mapping: dict[str, Any] | None
    counts: dict[str, int]
    codes: dict[str, int]
    labels: dict[str, int]
    statistics: dict[str, Any]
    warnings: list[dict[str, Any]]
    job: str | None
    error: dict[str, Any] | None


class DatasetList(Schema):
    """One page of datasets."""

    data: list[DatasetOut]
    next_cursor: str | None


class Accepted(Schema):
    """What was begun."""

    id: str
    status: str


class FindingOut(Schema):
    """Something found in a row."""

    code: str
    kind: str | None
    severity: str
    message: str
    row: int
    column: str | None
    start: int | None
    end: int | None
    found: str | None
    expected: str | None
    fix: str | None
    related_row: int | None


class ExampleOut(Schema):
    """One row as the model will see it. ``original`` is the row as it was uploaded."""

    id: int
    row: int
    line: int | None
    status: str
    decision: str | None
    codes: list[str]
    split: str | None
    label: str | None
    messages: list[dict[str, Any]]
    original_messages: list[dict[str, Any]] | None
    metadata: dict[str, Any]
    original: str
    findings: list[FindingOut]


class ExampleList(Schema):
    """One page of rows."""

    data: list[ExampleOut]
    next_cursor: str | None


class ExampleChange(Schema):
    """What to do with a row. ``edit`` takes ``messages``, or ``prompt`` and/or ``answer`` (or ``label``)."""

    action: Literal["accept", "reject", "edit", "undo"]
    messages: list[dict[str, Any]] | None = None
    prompt: str | None = None
    answer: str | None = None
    label: str | None = None


class FindingChange(Schema):
    """What to do with all undecided rows of one finding (only those of ``status`` when given)."""

    action: Literal["accept", "reject"]
    status: str = ""


def dataset_out(dataset: Dataset) -> DatasetOut:
    """The dataset as JSON."""
    return DatasetOut(
        id=dataset.pk,
        name=dataset.name,
        status=dataset.state,  # type: ignore[arg-type]  # the states are the three words
        created_at=dataset.created_at,
        file=dataset.upload.name,
        file_id=f"file-{dataset.upload_id}",
        format=dataset.format or None,
        file_type=dataset.file_type or None,
        encoding=dataset.encoding or None,
        task_type=dataset.task_type,
        columns=dataset.columns,
        mapping=dataset.mapping,
        counts=dataset.counts,
        codes=dataset.codes,
        labels=dataset.labels,
        statistics=dataset.statistics,
        warnings=dataset.warnings,
        job=dataset.job_id,
        error=dataset.error or None,
    )


def finding_out(finding: Finding) -> FindingOut:
    """The finding as JSON. ``kind`` is the kind of personal data, for ``pii`` only."""
    kind = finding.found if finding.code == "pii" and finding.found else None
    return FindingOut(
        code=finding.code,
        kind=kind,
        severity=finding.severity,
        message=finding.message,
        row=finding.row,
        column=finding.column or None,
        start=finding.start,
        end=finding.end,
        found=finding.found or None,
        expected=finding.expected or None,
        fix=finding.fix or None,
        related_row=finding.related_row,
    )


def example_out(row: ExampleRow) -> ExampleOut:
    """The row as JSON."""
    example = row.example
    return ExampleOut(
        id=example.row,
        row=example.row,
        line=row.text.line,
        status=example.status,
        decision=example.decision or None,
        codes=example.codes,
        split=example.split or None,
        label=row.label,
        messages=row.messages,
        original_messages=row.text.messages if example.edited_messages is not None else None,
        metadata=row.text.metadata,
        original=row.text.original,
        findings=[finding_out(finding) for finding in row.findings],
    )
