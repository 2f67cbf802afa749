"""Takes away, some at a time, what nobody sees any more: deleted datasets, earlier attempts, expired uploads.

Beat calls it, and a deletion rings for it; whatever is interrupted is found again by ``Dataset.tidy_after``.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.core.files.storage import default_storage
from django.db.models import QuerySet
from django.utils import timezone

from datasets_app.bulk import delete_in_batches
from datasets_app.models import (
    BulkAct,
    Dataset,
    Draft,
    Example,
    Finding,
    ReviewAct,
    ReviewTally,
    RowLock,
    Snapshot,
    Source,
    Upload,
)
from datasets_app.operations.imports import attempt_number
from datasets_app.queue import ring_for_tidying
from work_kit.choices import TERMINAL
from work_kit.files import delete_tree

READERS_LEAVE_WITHIN = timedelta(minutes=10)  # a page or download that began on an earlier attempt may still read it
_LOOK_AGAIN = timedelta(minutes=1)
_AFTER_TROUBLE = timedelta(hours=1)
DATASETS_IN_ONE_ROUND = 20

logger = logging.getLogger(__name__)


def tidy_later(*, dataset: Dataset, after: timedelta = timedelta(0)) -> None:
    """Have what this dataset left behind removed, not before ``after`` has passed."""
    Dataset.objects.filter(pk=dataset.pk).update(tidy_after=timezone.now() + after)
    if not after:
        ring_for_tidying()


def tidy_data() -> int:
    """One round over all datasets that have something to remove. Returns how many were finished.

    A dataset whose files cannot be removed now does not stop the others; it is looked at again an hour later.
    """
    due = Dataset.objects.filter(tidy_after__lte=timezone.now()).select_related("job").order_by("tidy_after")
    done = 0
    for dataset in due[:DATASETS_IN_ONE_ROUND]:
        try:
            done += tidy_dataset(dataset=dataset)
        except Exception:  # whatever a storage raises; recorded, and tried again
            logger.exception("the old rows of dataset %s could not be removed", dataset.pk)
            Dataset.objects.filter(pk=dataset.pk).update(tidy_after=timezone.now() + _AFTER_TROUBLE)
    return done


def tidy_dataset(*, dataset: Dataset) -> bool:
    """Remove what readers of this dataset can no longer see. False when something still works with it: then it is
    looked at again a minute later."""
    seen = dataset.tidy_after
    folders = _folders(f"datasets/{dataset.pk}")  # before the question whether a job runs: none of them is a new one's
    dataset = Dataset.objects.select_related("job").get(pk=dataset.pk)
    job_runs = dataset.job is not None and dataset.job.state not in TERMINAL
    freezing = Snapshot.objects.filter(dataset=dataset, job__isnull=False).exclude(job__state__in=TERMINAL)
    if job_runs or freezing.exists():
        Dataset.objects.filter(pk=dataset.pk, tidy_after=seen).update(tidy_after=timezone.now() + _LOOK_AGAIN)
        return False
    if dataset.deleted_at is not None:
        _purge(dataset)
    else:
        last = max(dataset.visible_attempt, attempt_number(dataset.job) if dataset.job else 0)
        for model in (Finding, Example):
            old = model._default_manager.filter(dataset=dataset, import_attempt__lte=last)
            delete_in_batches(old.exclude(import_attempt=dataset.visible_attempt))
        for folder in folders:
            if folder != dataset.storage_prefix:
                delete_stored(folder)
    Dataset.objects.filter(pk=dataset.pk, tidy_after=seen).update(tidy_after=None)
    return True


def _purge(dataset: Dataset) -> None:
    """Everything of a deleted dataset but the record that it was there."""
    for model in (Finding, Example, Draft, RowLock, ReviewAct, BulkAct, ReviewTally):
        delete_in_batches(model._default_manager.filter(dataset=dataset))
    delete_stored(f"datasets/{dataset.pk}")
    for snapshot in Snapshot.objects.filter(dataset=dataset):
        delete_stored(f"snapshots/{snapshot.pk}")
    ids = {dataset.upload_id, *Source.objects.filter(dataset=dataset).values_list("upload_id", flat=True)}
    for upload in Upload.objects.filter(pk__in=ids, deleted_at=None):
        if not datasets_with(upload).exists():
            Upload.objects.filter(pk=upload.pk).update(deleted_at=timezone.now(), preview=None)
            default_storage.delete(upload.storage_name)
    Dataset.objects.filter(pk=dataset.pk).update(storage_prefix="", chunks=[])


def datasets_with(upload: Upload) -> QuerySet[Dataset]:
    """The datasets that are there and have, or had, rows of this file."""
    mine = Dataset.objects.filter(deleted_at=None)
    return mine.filter(upload=upload) | mine.filter(pk__in=Source.objects.filter(upload=upload).values("dataset_id"))


def delete_stored(prefix: str) -> None:
    """Remove a folder of the storage, also when there is none."""
    try:
        delete_tree(prefix)
    except FileNotFoundError:
        pass  # nothing was stored


def _folders(prefix: str) -> list[str]:
    try:
        return [f"{prefix}/{name}" for name in default_storage.listdir(prefix)[0]]
    except FileNotFoundError:
        return []
