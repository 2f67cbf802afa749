"""A dataset that is there already is checked again: with one more file, one less, or other settings.

Everything is one import of all its files under a new attempt. Readers see the old attempt until the new one commits;
what the job is to change is written in its parameters and happens in that commit, so that a check which fails or is
cancelled leaves the dataset as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app import queries
from datasets_app.choices import DatasetState, TaskType
from datasets_app.models import Dataset, Source, Upload
from datasets_app.operations.import_settings import (
    audited,
    check_reading,
    check_settings,
    import_settings,
    reading_of,
    remember_mapping,
)
from datasets_app.operations.imports import IMPORT_KIND, attempt_number, check_upload
from finetune_engine.errors import Place, UserError
from work_kit.choices import TERMINAL
from work_kit.models import Job
from work_kit.operations import submit_job

MOST_SOURCES = 200
_KEPT_SETTINGS = ("task_type", "over_length", "base_model", "context_tokens")


@dataclass(frozen=True)
class NewSource:
    """A file to append, and how to read it. With ``columns``, the choice is remembered for such files; ``origin`` is
    given for rows that people proposed (see ``Source``)."""

    upload: Upload
    format: str = "auto"
    mapping: dict[str, Any] | None = None
    columns: Sequence[str] = ()
    origin: Mapping[str, Any] | None = None


def recheck_dataset(
    *,
    actor: Actor,
    dataset: Dataset,
    settings: Mapping[str, Any] | None = None,
    append: Sequence[NewSource] = (),
    remove: Source | None = None,
    restore: Source | None = None,
    readings: Mapping[int, Mapping[str, Any]] | None = None,
    idempotency_key: str | None = None,
) -> Job:
    """Check all files of a dataset again, by what its project decided about cleaning; returns the job.

    ``settings`` replaces some of ``task_type``, ``over_length``, ``base_model``, ``context_tokens``; ``readings`` gives files
    (by number) another ``{format, mapping}``. A dataset that is ready stays so meanwhile. The same
    ``idempotency_key`` returns the first job.

    Raises UserError: ``being_checked`` (409) while an import of it runs, ``last_file`` for taking out the only file,
    ``upload_deleted`` (409) when a file that is needed was deleted, and for settings that make no sense.
    """
    if first := queries.import_with_key(actor.project, idempotency_key):
        return first
    for new in append:
        check_reading(new.format, new.mapping)
        check_upload(new.upload)
    for reading in (readings or {}).values():
        check_reading(str(reading.get("format") or "auto"), reading.get("mapping"))
    with transaction.atomic():
        locked = Dataset.objects.select_for_update(of=("self",)).select_related("job").get(pk=dataset.pk)
        _check_free(locked)
        kept = {key: locked.options[key] for key in _KEPT_SETTINGS if key in locked.options}
        options = import_settings(actor.project, check_settings({**kept, **(settings or {})}))
        sources = list(locked.sources.select_related("upload").order_by("number"))
        added = _append(actor, locked, sources, append)
        wanted = _wanted(sources, added, remove, restore)
        job = submit_job(
            actor=actor,
            kind=IMPORT_KIND,
            title=f"Check {locked.name} again",
            params={
                "dataset": locked.pk,
                "sources": [source.number for source in wanted],
                "added": [source.number for source in added],
                "readings": {str(number): dict(reading) for number, reading in (readings or {}).items()},
                "options": options,
                "attempts_before": _attempts_before(locked),
                "again": True,
            },
            idempotency_key=idempotency_key,
        )
        state = DatasetState.READY if locked.state == DatasetState.READY else DatasetState.PROCESSING
        Dataset.objects.filter(pk=locked.pk).update(job=job, state=state, error={})
        _record(actor, locked, options, added, remove, restore)
    dataset.refresh_from_db()
    return job


def append_file(
    *,
    actor: Actor,
    dataset: Dataset,
    upload: Upload,
    format: str = "auto",
    mapping: dict[str, Any] | None = None,
    columns: Sequence[str] = (),
    idempotency_key: str | None = None,
) -> Job:
    """Add the rows of one more file to a dataset. Raises what ``recheck_dataset`` raises."""
    new = NewSource(upload=upload, format=format, mapping=mapping, columns=columns)
    return recheck_dataset(actor=actor, dataset=dataset, append=[new], idempotency_key=idempotency_key)


def remove_file(*, actor: Actor, dataset: Dataset, source: Source) -> Job:
    """Undo the import of one file: its rows go, its bytes stay, so that it can be restored."""
    if source.removed_at is not None:
        raise UserError("already_removed", "This file was taken out already.", status=409)
    return recheck_dataset(actor=actor, dataset=dataset, remove=source)


def restore_file(*, actor: Actor, dataset: Dataset, source: Source) -> Job:
    """Bring a file back that was taken out."""
    if source.removed_at is None:
        raise UserError("not_removed", "This file is part of the dataset already.", status=409)
    return recheck_dataset(actor=actor, dataset=dataset, restore=source)


def _check_free(dataset: Dataset) -> None:
    if dataset.deleted_at is not None:
        raise UserError("dataset_deleted", "This dataset was deleted.", status=404)
    if dataset.job is not None and dataset.job.state not in TERMINAL:
        raise UserError(
            "being_checked",
            "This dataset is being checked at the moment. Wait until the check is done, or cancel it first.",
            status=409,
        )


def _append(actor: Actor, dataset: Dataset, sources: list[Source], append: Sequence[NewSource]) -> list[Source]:
    """Records of the new files, which do not count as part of the dataset until the job commits."""
    if len(sources) + len(append) > MOST_SOURCES:
        raise UserError("too_many_files", f"A dataset may have {MOST_SOURCES} files at most.", field="file")
    number = max((source.number for source in sources), default=0)
    made = []
    for new in append:
        number += 1
        reading = reading_of(new.format, new.mapping)
        made.append(
            Source.objects.create(
                dataset=dataset,
                number=number,
                upload=new.upload,
                options=reading,
                origin=dict(new.origin or {}),
                added_by=actor.user,
                removed_at=timezone.now(),
            )
        )
        if new.columns:
            remember_mapping(actor=actor, columns=new.columns, reading=reading, task_type=TaskType.AUTO)
    return made


def _wanted(sources: list[Source], added: list[Source], remove: Source | None, restore: Source | None) -> list[Source]:
    wanted = [source for source in sources if source.removed_at is None or (restore and source.pk == restore.pk)]
    wanted = [source for source in wanted if not (remove and source.pk == remove.pk)] + added
    if not wanted:
        raise UserError(
            "last_file",
            "This is the only file of the dataset. Add another file first, or delete the whole dataset.",
            status=409,
        )
    for source in wanted:
        if source.upload.deleted_at is not None:
            name = source.upload.name
            raise UserError(
                "upload_deleted",
                f"The file {name} was deleted, so it cannot be read again. Take it out of the dataset, or upload it again.",
                place=Place(file=name),
                status=409,
            )
    return wanted


def _attempts_before(dataset: Dataset) -> int:
    """The highest number that an earlier import of this dataset may have used."""
    last = attempt_number(dataset.job) if dataset.job is not None else 0
    return max(last, dataset.visible_attempt)


def _record(
    actor: Actor,
    dataset: Dataset,
    options: dict[str, Any],
    added: list[Source],
    remove: Source | None,
    restore: Source | None,
) -> None:
    act = "append" if added else "remove_file" if remove else "restore_file" if restore else "recheck"
    changed = [source.upload_id for source in (*added, remove, restore) if source is not None]
    record(
        actor=actor,
        project=actor.project,
        act=f"dataset.{act}",
        subject=f"dataset {dataset.pk}",
        data={"uploads": changed, **audited(options)},
    )
