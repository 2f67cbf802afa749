"""What the native API of datasets takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema
from pydantic import ConfigDict

from datasets_app.models import Dataset, Finding, Snapshot
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


class SnapshotIn(Schema):
    """How to divide the rows. A name that is not here is refused: no option is passed over in silence."""

    model_config = ConfigDict(extra="forbid")

    split: dict[str, float] | None = None
    seed: int = Field(42, ge=0, lt=2**31)
    stratify_by: str | None = "auto"
    group_by: str | None = None


class SnapshotOut(Schema):
    """A frozen snapshot."""

    id: str
    dataset: str
    number: int
    status: Literal["processing", "ready", "failed", "deleted"]
    created_at: datetime
    sha256: str | None
    counts: dict[str, int]
    labels: dict[str, dict[str, int]]
    statistics: dict[str, Any]
    leakage: dict[str, Any]
    split: dict[str, float]
    seed: int
    stratify_by: str | None
    group_by: str | None
    task_type: str
    job: str | None
    error: dict[str, Any] | None


class SnapshotList(Schema):
    """All snapshots of a dataset."""

    data: list[SnapshotOut]
    next_cursor: str | None = None


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


def snapshot_out(snapshot: Snapshot) -> SnapshotOut:
    """The snapshot as JSON."""
    return SnapshotOut(
        id=snapshot.pk,
        dataset=snapshot.dataset_id,
        number=snapshot.number,
        status=snapshot.state,  # type: ignore[arg-type]  # the states are the four words
        created_at=snapshot.created_at,
        sha256=snapshot.sha256 or None,
        counts=snapshot.counts,
        labels=snapshot.labels,
        statistics=snapshot.statistics,
        leakage=snapshot.leakage,
        split=snapshot.split,
        seed=snapshot.seed,
        stratify_by=snapshot.stratify_by or None,
        group_by=snapshot.group_by or None,
        task_type=snapshot.task_type,
        job=snapshot.job_id,
        error=snapshot.error or None,
    )
