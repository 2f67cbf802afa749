"""The files of a dataset, and the checks that run over them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from accounts_app.models import Project
from datasets_app.choices import DatasetState, format_title
from datasets_app.models import Dataset, Source
from work_kit.choices import TERMINAL, State
from work_kit.models import Job

_KIND = "datasets.import"


@dataclass(frozen=True)
class SourceCard:
    """One file of a dataset. ``state`` is ``used``, ``removed``, or while a check runs ``adding``, ``removing`` or
    ``restoring``. ``is_here`` False means that its bytes were deleted, so that it cannot be read again."""

    number: int
    name: str
    size: int
    state: str
    rows: int
    first_row: int
    format_title: str
    file_type: str
    encoding: str
    columns: list[str]
    added_by: str
    added_at: datetime
    is_here: bool
    source: Source

    @property
    def last_row(self) -> int:
        """The number of its last row; 0 without rows."""
        return self.first_row + self.rows - 1 if self.rows else 0


def source_cards(dataset: Dataset) -> list[SourceCard]:
    """All files of a dataset in their order, those taken out included. One query."""
    job = running_check(dataset)
    wanted = set(job.params.get("sources") or []) if job else None
    added = set(job.params.get("added") or []) if job else set()
    rows = dataset.sources.select_related("upload", "added_by").order_by("number")
    return [_card(source, wanted, added) for source in rows]


def sources_from(dataset: Dataset, kind: str, origin_id: str) -> QuerySet[Source]:
    """The files of a dataset whose rows were proposed from this origin, those taken out included."""
    return dataset.sources.filter(origin__kind=kind, origin__id=origin_id)


def _card(source: Source, wanted: set[int] | None, added: set[int]) -> SourceCard:
    report: dict[str, Any] = source.report or {}
    name = str(report.get("format") or "")
    return SourceCard(
        number=source.number,
        name=source.upload.name,
        size=source.upload.size,
        state=_state(source, wanted, added),
        rows=source.rows,
        first_row=source.first_row,
        format_title=format_title(name) if name else "",
        file_type=str(report.get("file_type") or ""),
        encoding=str(report.get("encoding") or ""),
        columns=list(report.get("columns") or []),
        added_by=str(source.added_by) if source.added_by else "",
        added_at=source.added_at,
        is_here=source.upload.deleted_at is None,
        source=source,
    )


def _state(source: Source, wanted: set[int] | None, added: set[int]) -> str:
    if wanted is not None:
        if source.number in added:
            return "adding"
        if source.removed_at is None and source.number not in wanted:
            return "removing"
        if source.removed_at is not None and source.number in wanted:
            return "restoring"
    return "used" if source.removed_at is None else "removed"


def running_check(dataset: Dataset) -> Job | None:
    """The import that runs or waits now, the first one or a later one; None when none does."""
    job = dataset.job
    return job if job is not None and job.state not in TERMINAL else None


def failed_check(dataset: Dataset) -> dict[str, Any] | None:
    """Why the latest check of a dataset that is ready failed: ``{code, message, ...}``. None when it did not."""
    job = dataset.job
    if dataset.state != DatasetState.READY or job is None or job.state != State.FAILED:
        return None
    return dict(job.failure) if job.failure.get("message") else {"code": job.failure_reason, "message": ""}


def import_with_key(project: Project, idempotency_key: str | None) -> Job | None:
    """The import that a request with this key began before; None when there is none (or no key)."""
    if not idempotency_key:
        return None
    return Job.objects.filter(project=project, kind=_KIND, idempotency_key=idempotency_key).first()


def dataset_with_key(project: Project, idempotency_key: str | None) -> Dataset | None:
    """The dataset that a request with this key made before; None when there is none (or no key)."""
    job = import_with_key(project, idempotency_key)
    if job is None:
        return None
    rows = Dataset.objects.filter(project=project, deleted_at=None, pk=job.params.get("dataset"))
    return rows.select_related("upload", "job").first()
