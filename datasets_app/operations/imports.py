"""From an upload to a checked dataset."""

from __future__ import annotations

from typing import Any

from django.core.files import File
from django.db import transaction

from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app import queries
from datasets_app.bulk import delete_in_batches
from datasets_app.choices import DatasetState, Purpose, TaskType, format_choices
from datasets_app.models import Dataset, Example, Finding, Upload
from datasets_app.operations.uploads import store_upload
from finetune_engine.data.samples import SAMPLES
from finetune_engine.errors import UserError
from work_kit.files import delete_tree
from work_kit.models import Job
from work_kit.operations import submit_job

IMPORT_KIND = "datasets.import"
_MAPPING_KEYS = {"prompt", "completion", "system", "label", "metadata", "group", "split"}


def create_dataset(
    *,
    actor: Actor,
    upload: Upload,
    name: str = "",
    format: str = "auto",
    mapping: dict[str, Any] | None = None,
    task_type: str = TaskType.AUTO,
    idempotency_key: str | None = None,
) -> Dataset:
    """Start checking an upload; the dataset is ``processing`` until its job ends.

    ``mapping`` None means "find out". The same ``idempotency_key`` returns the first dataset. Raises UserError
    for an unknown format or task type, a malformed mapping, or an upload whose bytes were deleted.
    """
    _check_options(format, mapping, task_type)
    if upload.deleted_at is not None:
        raise UserError("upload_deleted", "This file was deleted. Upload it again.", field="file", status=409)
    options = {"format": format, "mapping": mapping, "task_type": task_type}
    with transaction.atomic():
        dataset = Dataset.objects.create(
            project=actor.project,
            name=(" ".join(name.split()) or upload.name)[:120],
            upload=upload,
            options=options,
            task_type=task_type,
            created_by=actor.user,
            created_by_key=actor.api_key,
        )
        job = submit_job(
            actor=actor,
            kind=IMPORT_KIND,
            title=f"Check {dataset.name}",
            params={"dataset": dataset.pk},
            idempotency_key=idempotency_key,
        )
        if job.params.get("dataset") != dataset.pk:
            dataset.delete()
            return Dataset.objects.get(project=actor.project, pk=job.params["dataset"])
        dataset.job = job
        dataset.save(update_fields=["job"])
        record(
            actor=actor,
            project=actor.project,
            act="dataset.create",
            subject=f"dataset {dataset.pk}",
            data={"upload": upload.pk, **options},
        )
    return dataset


def create_sample_dataset(
    *, actor: Actor, key: str = "contract_clauses", idempotency_key: str | None = None
) -> Dataset:
    """A dataset from one of the samples that come with the product. Raises UserError for an unknown one."""
    sample = SAMPLES.get(key)
    if sample is None:
        raise UserError("unknown_sample", f"There is no sample {key[:40]!r}; choose among {', '.join(SAMPLES)}.")
    if first := queries.dataset_with_key(actor.project, idempotency_key):
        return first
    with sample.path.open("rb") as file:
        upload = store_upload(actor=actor, file=File(file), name=sample.path.name, purpose=Purpose.FINE_TUNE)
    return create_dataset(
        actor=actor, upload=upload, name=sample.title, task_type=sample.task_type, idempotency_key=idempotency_key
    )


def _check_options(format: str, mapping: Any, task_type: str) -> None:
    formats = [name for name, _ in format_choices()]
    if format not in formats:
        raise UserError(
            "unknown_format", f"Unknown format {format[:40]!r}; choose among {', '.join(formats)}.", field="format"
        )
    task_types = [value for value in TaskType.values if value != TaskType.PREFERENCE]
    if task_type not in task_types:
        raise UserError(
            "unknown_task_type",
            f"Unknown task type {task_type[:40]!r}; choose among {', '.join(task_types)}.",
            field="task_type",
        )
    if mapping is None:
        return
    if not isinstance(mapping, dict) or not mapping.get("prompt") or not mapping.get("completion"):
        raise UserError(
            "bad_mapping",
            'A mapping names the columns, for example {"prompt": "question", "completion": "answer"}.',
            field="mapping",
        )
    if unknown := sorted(set(mapping) - _MAPPING_KEYS):
        raise UserError(
            "bad_mapping",
            f"A mapping has no part {unknown[0][:40]!r}; its parts are {', '.join(sorted(_MAPPING_KEYS))}.",
            field="mapping",
        )
    for part, value in mapping.items():
        is_list = isinstance(value, list) and part in {"prompt", "metadata"}
        if not (value is None or isinstance(value, str) or (is_list and all(isinstance(v, str) for v in value))):
            raise UserError("bad_mapping", f"The part {part!r} of the mapping must name a column.", field="mapping")


# --- what the import job writes (called by the runner) --------------------------------------------------------


def forget_other_attempts(dataset: Dataset) -> None:
    """Remove rows that an earlier, unfinished attempt left. Nobody could see them."""
    for model in (Finding, Example):
        delete_in_batches(
            model._default_manager.filter(dataset=dataset).exclude(import_attempt=dataset.visible_attempt)
        )


def finish_import(*, job: Job, report: dict[str, Any], storage_prefix: str) -> Dataset | None:
    """The rows of this attempt become the dataset's rows. Inside the job's last transaction. None when the dataset
    was deleted meanwhile."""
    counts, mapping = report["counts"], report.get("mapping")
    moved = Dataset.objects.filter(pk=job.params["dataset"], state=DatasetState.PROCESSING, deleted_at=None).update(
        state=DatasetState.READY,
        error={},
        format=str(report["format"])[:40],
        file_type=str(report.get("file_type") or "")[:20],
        encoding=str(report.get("encoding") or "")[:40],
        task_type=str(report["task_type"])[:20],
        columns=report.get("columns") or [],
        mapping=mapping,
        codes=report.get("codes") or {},
        labels=report.get("labels") or {},
        statistics=report.get("statistics") or {},
        warnings=report.get("warnings") or [],
        chunks=report["chunks"],
        storage_prefix=storage_prefix,
        import_attempt=job.attempt,
        total=counts["total"],
        accepted=counts["accepted"],
        flagged=counts["flagged"],
        needs_review=counts["needs_review"],
        rejected=counts["rejected"],
    )
    return Dataset.objects.get(pk=job.params["dataset"]) if moved else None


def discard_import(*, job: Job, storage_prefix: str = "") -> None:
    """Remove what an import left that never became visible, once the current transaction has committed."""
    dataset = Dataset.objects.filter(pk=job.params.get("dataset")).first()
    if dataset is None:
        return

    def discard() -> None:
        forget_other_attempts(dataset)
        if storage_prefix:
            delete_tree(storage_prefix)

    transaction.on_commit(discard)


def fail_import(*, job: Job, error: dict[str, Any]) -> None:
    """The import did not end well; the upload is kept. Inside the transaction that ends the job."""
    Dataset.objects.filter(pk=job.params.get("dataset"), state=DatasetState.PROCESSING).update(
        state=DatasetState.FAILED, error=error
    )
