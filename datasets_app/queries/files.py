"""Uploads as the ``/v1/files`` family shows them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from accounts_app.models import Project
from accounts_app.permissions import Actor
from datasets_app.choices import DatasetState
from datasets_app.models import Dataset, Upload

FILE_PREFIX = "file-"
REPEAT_WINDOW = timedelta(minutes=10)
_STATUS = {DatasetState.PROCESSING: "uploaded", DatasetState.READY: "processed", DatasetState.FAILED: "error"}


def uploads_of(project: Project) -> QuerySet[Upload]:
    """The project's files whose bytes are there, with their datasets at hand."""
    return Upload.objects.filter(project=project, deleted_at=None).prefetch_related(
        Prefetch("datasets", Dataset.objects.filter(deleted_at=None).order_by("-id"), to_attr="newest_datasets")
    )


def same_upload(actor: Actor, *, sha256: str, purpose: str) -> Upload | None:
    """The file that this key uploaded with this content and purpose within the last ten minutes: what a repeated
    request meant. None when there is none."""
    since = timezone.now() - REPEAT_WINDOW
    rows = uploads_of(actor.project).filter(
        sha256=sha256, purpose=purpose, created_by_key=actor.api_key, created_at__gte=since
    )
    return rows.order_by("id").first()


def file_object(upload: Upload) -> dict[str, Any]:
    """OpenAI's file object. A fine-tune file is ``processed`` once its rows are checked, ``error`` (with
    ``status_details``) when they could not be; other files are processed at once."""
    datasets: list[Dataset] = getattr(upload, "newest_datasets", None) or []
    dataset = datasets[0] if datasets else None
    status = _STATUS[DatasetState(dataset.state)] if dataset else "processed"
    return {
        "id": f"{FILE_PREFIX}{upload.pk}",
        "object": "file",
        "bytes": upload.size,
        "created_at": int(upload.created_at.timestamp()),
        "expires_at": None,
        "filename": upload.name,
        "purpose": upload.purpose,
        "status": status,
        "status_details": str(dataset.error.get("message", "")) if dataset and status == "error" else None,
    }
