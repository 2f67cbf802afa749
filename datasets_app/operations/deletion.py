"""Taking data away for good. What remains is the record that it was there, and what it was called."""

from __future__ import annotations

from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.bulk import delete_in_batches
from datasets_app.choices import DatasetState, SnapshotState
from datasets_app.models import Dataset, Example, Finding, Snapshot, Upload
from finetune_engine.errors import UserError
from work_kit.choices import TERMINAL, StopAction
from work_kit.files import delete_tree
from work_kit.operations import request_stop


def delete_dataset(*, actor: Actor, dataset: Dataset) -> None:
    """Remove a dataset's rows, findings, chunks, snapshots and its upload. It disappears at once; the rows follow in
    short transactions. Trained models keep their own record of the snapshot's hash and counts."""
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
    for model in (Finding, Example):
        delete_in_batches(model._default_manager.filter(dataset=dataset))
    for prefix in (f"datasets/{dataset.pk}", *(f"snapshots/{snapshot.pk}" for snapshot in frozen)):
        _delete_stored(prefix)
    if not Dataset.objects.filter(upload=dataset.upload, deleted_at=None).exists():
        _delete_bytes(dataset.upload)


def delete_upload(*, actor: Actor, upload: Upload) -> None:
    """Remove an uploaded file. A dataset made from it stays. Raises UserError (409) while it is being checked."""
    with transaction.atomic():
        if Dataset.objects.filter(upload=upload, state=DatasetState.PROCESSING, deleted_at=None).exists():
            raise UserError(
                "file_in_use", "This file is still being checked. Delete it when the check is done.", status=409
            )
        moved = Upload.objects.filter(pk=upload.pk, deleted_at=None).update(deleted_at=timezone.now(), preview=None)
        if not moved:
            return
        record(actor=actor, project=actor.project, act="upload.delete", subject=f"upload {upload.pk}")
    default_storage.delete(upload.storage_name)


def _delete_bytes(upload: Upload) -> None:
    Upload.objects.filter(pk=upload.pk).update(deleted_at=timezone.now(), preview=None)
    default_storage.delete(upload.storage_name)


def _delete_stored(prefix: str) -> None:
    try:
        delete_tree(prefix)
    except FileNotFoundError:
        pass  # nothing was stored yet
