"""Taking data away for good. What remains is the record that it was there, and what it was called."""

from __future__ import annotations

from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.choices import DatasetState, SnapshotState
from datasets_app.models import Dataset, Snapshot, Upload
from datasets_app.operations.housekeeping import datasets_with, tidy_dataset, tidy_later
from finetune_engine.errors import UserError
from work_kit.choices import TERMINAL, StopAction
from work_kit.operations import request_stop

FEW_ROWS = 2_000  # so many are removed within a request


def delete_dataset(*, actor: Actor, dataset: Dataset) -> None:
    """Remove a dataset's rows, findings, chunks, snapshots and its files. It disappears at once; the rows of a large
    one are removed by the caretaker. Trained models keep their own record of the snapshot's hash and counts."""
    with transaction.atomic():
        moved = Dataset.objects.filter(pk=dataset.pk, deleted_at=None).update(
            deleted_at=timezone.now(), labels={}, statistics={}, warnings=[], error={}, mapping=None, columns=[]
        )
        if not moved:
            return
        record(
            actor=actor,
            project=actor.project,
            act="dataset.delete",
            subject=f"dataset {dataset.pk}",
            data={"rows": dataset.total},
        )
        frozen = list(Snapshot.objects.select_related("job").filter(dataset=dataset))
        Snapshot.objects.filter(dataset=dataset).update(state=SnapshotState.DELETED, labels={}, storage_prefix="")
        for job in [dataset.job, *(snapshot.job for snapshot in frozen)]:
            if job is not None and job.state not in TERMINAL:
                request_stop(actor=actor, job=job, action=StopAction.CANCEL)
        tidy_later(dataset=dataset)
    if dataset.total <= FEW_ROWS:
        tidy_dataset(dataset=Dataset.objects.get(pk=dataset.pk))


def delete_upload(*, actor: Actor, upload: Upload) -> None:
    """Remove an uploaded file. A dataset made from it stays. Raises UserError (409) while it is being checked."""
    with transaction.atomic():
        using = datasets_with(upload).select_related("job")
        if any(_is_busy(dataset) for dataset in using):
            raise UserError(
                "file_in_use", "This file is still being checked. Delete it when the check is done.", status=409
            )
        moved = Upload.objects.filter(pk=upload.pk, deleted_at=None).update(deleted_at=timezone.now(), preview=None)
        if not moved:
            return
        record(actor=actor, project=actor.project, act="upload.delete", subject=f"upload {upload.pk}")
    default_storage.delete(upload.storage_name)


def _is_busy(dataset: Dataset) -> bool:
    checking = dataset.job is not None and dataset.job.state not in TERMINAL
    return checking or dataset.state == DatasetState.PROCESSING
