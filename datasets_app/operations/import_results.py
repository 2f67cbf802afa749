"""What the import job writes; called by the runner."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from datasets_app.bulk import delete_in_batches
from datasets_app.choices import DatasetState, Status
from datasets_app.models import Dataset, Example, Finding, Source
from datasets_app.operations.carrying import Move, carry_decisions
from datasets_app.operations.housekeeping import READERS_LEAVE_WITHIN, tidy_later
from datasets_app.operations.imports import attempt_number
from work_kit.models import Job

_REPORTED = ("format", "file_type", "encoding", "delimiter", "columns", "mapping")


def forget_other_attempts(dataset: Dataset) -> None:
    """Remove rows that an earlier, unfinished attempt left. Nobody could see them."""
    for model in (Finding, Example):
        delete_in_batches(
            model._default_manager.filter(dataset=dataset).exclude(import_attempt=dataset.visible_attempt)
        )


@transaction.atomic
def finish_import(*, job: Job, report: dict[str, Any], storage_prefix: str) -> Dataset | None:
    """The rows of this attempt become the dataset's rows, with what people decided about them before. Inside the
    job's last transaction. None when the dataset was deleted meanwhile."""
    rows = Dataset.objects.select_for_update().filter(pk=job.params["dataset"], deleted_at=None, job_id=job.pk)
    dataset = rows.first()
    if dataset is None:
        return None
    before, attempt = dataset.import_attempt, attempt_number(job)
    moves = _place_sources(dataset, job, report)
    counts = {name: int(report["counts"].get(name, 0)) for name in ("total", *Status.values)}
    if before is not None:
        for status, n in carry_decisions(dataset=dataset, old=before, new=attempt, moves=moves).items():
            counts[status] += n
    options = job.params.get("options") or dataset.options
    first = Source.objects.filter(dataset=dataset, removed_at=None).order_by("number").first()
    Dataset.objects.filter(pk=dataset.pk).update(
        state=DatasetState.READY,
        error={},
        options=options,
        upload_id=first.upload_id if first else dataset.upload_id,
        format=str(report.get("format") or "")[:40],
        file_type=str(report.get("file_type") or "")[:20],
        encoding=str(report.get("encoding") or "")[:40],
        task_type=str(report["task_type"])[:20],
        columns=report.get("columns") or [],
        mapping=report.get("mapping"),
        codes=report.get("codes") or {},
        labels=report.get("labels") or {},
        statistics=report.get("statistics") or {},
        warnings=report.get("warnings") or [],
        cleaning=report.get("cleaning") or {},
        pii=report.get("pii") or {},
        chunks=report["chunks"],
        storage_prefix=storage_prefix,
        import_attempt=attempt,
        **counts,
    )
    if before is not None or job.attempt > 1:
        tidy_later(dataset=dataset, after=READERS_LEAVE_WITHIN)
    return Dataset.objects.get(pk=dataset.pk)


def _place_sources(dataset: Dataset, job: Job, report: dict[str, Any]) -> list[Move]:
    """Write where each file's rows are now and which files are part of the dataset; returns how rows moved."""
    numbers = [int(number) for number in job.params.get("sources") or [1]]
    found = report.get("sources") or [{**report, "rows": report["counts"]["total"], "first_row": 1}]
    placed = dict(zip(numbers, found, strict=True))
    readings = job.params.get("readings") or {}
    moves, now = [], timezone.now()
    for source in Source.objects.filter(dataset=dataset).order_by("number"):
        one = placed.get(source.number)
        if one is None:
            source.removed_at = source.removed_at or now
        else:
            if source.removed_at is None and source.rows:
                moves.append(Move(source.first_row, source.rows, int(one["first_row"]), int(one["rows"])))
            source.removed_at = None
            source.first_row, source.rows = int(one["first_row"]), int(one["rows"])
            source.report = {key: one.get(key) for key in _REPORTED}
            source.options = readings.get(str(source.number), source.options)
        source.save(update_fields=["removed_at", "first_row", "rows", "report", "options"])
    return moves


def discard_import(*, job: Job) -> None:
    """What an import left that never became visible goes away soon."""
    dataset = Dataset.objects.filter(pk=job.params.get("dataset")).first()
    if dataset is not None and job.attempt:
        tidy_later(dataset=dataset)


def fail_import(*, job: Job, error: dict[str, Any]) -> None:
    """The import did not end well; the uploads are kept, and a dataset that was ready stays as it was. Inside the
    transaction that ends the job."""
    Dataset.objects.filter(pk=job.params.get("dataset"), job_id=job.pk, state=DatasetState.PROCESSING).update(
        state=DatasetState.FAILED, error=error
    )
    if added := job.params.get("added"):
        Source.objects.filter(dataset_id=job.params["dataset"], number__in=added, rows=0).delete()


def sources_to_read(*, job: Job, dataset: Dataset) -> list[tuple[Source, dict[str, Any]]]:
    """The files of this import in their order, each with ``{format, mapping}`` and whether its rows are proposals."""
    numbers = [int(number) for number in job.params.get("sources") or [1]]
    readings = job.params.get("readings") or {}
    found = {source.number: source for source in dataset.sources.select_related("upload").filter(number__in=numbers)}
    return [
        (found[n], {**found[n].options, **readings.get(str(n), {}), "proposed": bool(found[n].origin)})
        for n in numbers
        if n in found
    ]
