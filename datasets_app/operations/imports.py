"""From an upload to a dataset that is being checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.files import File
from django.db import transaction

from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app import queries
from datasets_app.choices import Purpose, TaskType
from datasets_app.models import Dataset, Source, Upload
from datasets_app.operations.import_settings import (
    audited,
    check_reading,
    check_settings,
    import_settings,
    reading_of,
    remember_mapping,
)
from datasets_app.operations.uploads import store_upload
from finetune_engine.data.samples import SAMPLES
from finetune_engine.errors import UserError
from work_kit.models import Job
from work_kit.operations import submit_job

IMPORT_KIND = "datasets.import"


def create_dataset(
    *,
    actor: Actor,
    upload: Upload,
    name: str = "",
    format: str = "auto",
    mapping: dict[str, Any] | None = None,
    task_type: str = TaskType.AUTO,
    settings: dict[str, Any] | None = None,
    columns: Sequence[str] | None = None,
    idempotency_key: str | None = None,
) -> Dataset:
    """Start checking an upload; the dataset is ``processing`` until its job ends.

    ``mapping`` None means "find out". ``settings`` may hold ``over_length`` and ``base_model`` (see
    ``import_settings``). With ``columns``, what was chosen is remembered for files with the same columns. The same
    ``idempotency_key`` returns the first dataset. Raises UserError for an unknown format or task type, a malformed
    mapping, or an upload whose bytes were deleted.
    """
    check_reading(format, mapping)
    settings = check_settings({"task_type": task_type, **(settings or {})})
    check_upload(upload)
    reading = reading_of(format, mapping)
    options = import_settings(actor.project, settings)
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
        Source.objects.create(dataset=dataset, number=1, upload=upload, options=reading, added_by=actor.user)
        job = submit_job(
            actor=actor,
            kind=IMPORT_KIND,
            title=f"Check {dataset.name}",
            params={"dataset": dataset.pk, "sources": [1], "options": options, "attempts_before": 0},
            idempotency_key=idempotency_key,
        )
        if job.params.get("dataset") != dataset.pk:
            dataset.delete()
            return Dataset.objects.get(project=actor.project, pk=job.params["dataset"])
        dataset.job = job
        dataset.save(update_fields=["job"])
        if columns:
            remember_mapping(actor=actor, columns=columns, reading=reading, task_type=task_type)
        record(
            actor=actor,
            project=actor.project,
            act="dataset.create",
            subject=f"dataset {dataset.pk}",
            data={"upload": upload.pk, **reading, **audited(options)},
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


def check_upload(upload: Upload) -> None:
    """Raises UserError (409) for an upload whose bytes were deleted."""
    if upload.deleted_at is not None:
        raise UserError("upload_deleted", "This file was deleted. Upload it again.", field="file", status=409)


def attempt_number(job: Job) -> int:
    """The import attempt that this attempt at the job writes: counted over all imports of the dataset."""
    return int(job.params.get("attempts_before", 0)) + job.attempt
