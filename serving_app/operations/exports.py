"""Asking for a model as files, keeping what came out, and removing it."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.models import Project
from accounts_app.operations import record
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from jobs_app.queries import refuse_without_files
from serving_app.choices import ExportKind
from serving_app.models import ModelExport
from serving_app.queries.exports import exports_prefix, spare_folders
from work_kit.choices import OPEN
from work_kit.files import delete_tree
from work_kit.operations import submit_job
from work_kit.stored_sizes import Size, stored_size

KIND = "serving.export"


def start_export(
    *, actor: Actor, trained_model: TrainedModel, kind: str, idempotency_key: str | None = None
) -> ModelExport:
    """Queue an archive of this model. One of the same kind that is still being made is returned instead.

    Raises UserError for an unknown kind and for a model whose weights lie at a provider.
    """
    actor.require(Act.TRAIN)
    if kind not in ExportKind.values:
        raise UserError("unknown_kind", f"The kind is one of {', '.join(ExportKind.values)}.", field="kind")
    refuse_without_files(trained_model.remote_name)
    with transaction.atomic():
        TrainedModel.objects.select_for_update(no_key=True).get(pk=trained_model.pk)  # the second of two presses waits
        going_on = ModelExport.objects.filter(trained_model=trained_model, kind=kind, work__state__in=OPEN).first()
        if going_on is not None:
            return going_on
        job = submit_job(
            actor=actor,
            kind=KIND,
            title=_("Export %(model)s") % {"model": trained_model.name},
            params={},
            idempotency_key=f"{trained_model.pk}:{kind}:{idempotency_key}"[:200] if idempotency_key else None,
        )
        first = ModelExport.objects.filter(pk=job.pk).first()
        return first or ModelExport.objects.create(
            id=job.pk,
            project=actor.project,
            trained_model=trained_model,
            work=job,
            kind=kind,
            created_by=actor.user,
            created_by_key=actor.api_key,
        )


def keep_archive(*, export_id: str, storage_name: str, size_bytes: int, sha256: str, checks: dict[str, Any]) -> None:
    """Put what the job made into the export's row. Called inside the transaction that ends the job."""
    ModelExport.objects.filter(pk=export_id).update(
        storage_name=storage_name, size_bytes=size_bytes, sha256=sha256, checks=checks
    )


@transaction.atomic
def record_download(*, actor: Actor, export: ModelExport) -> None:
    """One audit entry, before the first byte is sent."""
    record(actor=actor, project=actor.project, act="export.download", subject=f"export {export.pk}")


def delete_export(*, actor: Actor, export: ModelExport) -> None:
    """Remove the archive. Raises UserError (409) while it is being made."""
    actor.require(Act.TRAIN)
    if export.work.state in OPEN:
        raise UserError("export_runs", _("This archive is still being made. Cancel that first."), status=409)
    with transaction.atomic():
        record(actor=actor, project=actor.project, act="export.delete", subject=f"export {export.pk}")
        ModelExport.objects.filter(pk=export.pk).delete()
        transaction.on_commit(lambda: _clear(f"{exports_prefix(actor.project)}/{export.pk}"))


def forget_exports(project: Project) -> Size:
    """Remove the project's archives, those of deleted models too; they can be made again. Nothing goes that is being made.
    Returns what went."""
    freed = Size()
    for export_id in spare_folders(project):
        prefix = f"{exports_prefix(project)}/{export_id}"
        freed += stored_size(prefix)
        ModelExport.objects.filter(pk=export_id).update(storage_name="", size_bytes=None, sha256="")
        delete_tree(prefix)
    return freed


def _clear(prefix: str) -> None:
    try:
        delete_tree(prefix)
    except FileNotFoundError:
        pass  # nothing was ever stored
