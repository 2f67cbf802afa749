"""Files that are still arriving, for pages, the API and ``/v1/uploads``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts_app.models import Project
from accounts_app.permissions import Actor
from datasets_app.choices import PendingState
from datasets_app.models import PendingUpload, UploadPart
from datasets_app.queries.files import REPEAT_WINDOW, file_object, uploads_of

UPLOAD_PREFIX = "upload_"
PART_PREFIX = "part_"


@dataclass(frozen=True)
class Arriving:
    """An unfinished file: ``received`` of ``size`` bytes are here."""

    id: str
    name: str
    size: int
    received: int
    expires_at: datetime

    @property
    def share(self) -> float:
        """0..1."""
        return self.received / self.size if self.size else 0.0


def arriving_files(actor: Actor) -> list[Arriving]:
    """What this person began to upload and did not finish, newest first."""
    rows = PendingUpload.objects.filter(
        project=actor.project, created_by=actor.user, state=PendingState.PENDING, expires_at__gt=timezone.now()
    ).annotate(received=Coalesce(Sum("parts__size"), 0))
    return [Arriving(row.pk, row.name, row.size, row.received, row.expires_at) for row in rows.order_by("-id")[:20]]


def pending_uploads_of(project: Project) -> QuerySet[PendingUpload]:
    """All uploads in parts of a project, whatever became of them."""
    return PendingUpload.objects.filter(project=project).select_related("upload", "project")


def same_pending(actor: Actor, *, name: str, size: int, purpose: str) -> PendingUpload | None:
    """What this key announced in the same words within the last ten minutes: what a repeated request meant."""
    rows = pending_uploads_of(actor.project).filter(
        created_by_key=actor.api_key,
        name=name,
        size=size,
        purpose=purpose,
        state=PendingState.PENDING,
        created_at__gte=timezone.now() - REPEAT_WINDOW,
    )
    return rows.order_by("id").first()


def same_part(pending: PendingUpload, *, sha256: str) -> UploadPart | None:
    """The part with this content that came within the last ten minutes."""
    since = timezone.now() - REPEAT_WINDOW
    return UploadPart.objects.filter(pending=pending, sha256=sha256, created_at__gte=since).order_by("id").first()


def upload_object(pending: PendingUpload) -> dict[str, Any]:
    """OpenAI's upload object, with the file once it is complete."""
    upload = pending.upload
    if upload is not None:
        upload = uploads_of(pending.project).filter(pk=upload.pk).first()
    late = pending.state == PendingState.PENDING and pending.expires_at <= timezone.now()
    return {
        "id": f"{UPLOAD_PREFIX}{pending.pk}",
        "object": "upload",
        "bytes": pending.size,
        "created_at": int(pending.created_at.timestamp()),
        "expires_at": int(pending.expires_at.timestamp()),
        "filename": pending.name,
        "purpose": pending.purpose,
        "status": PendingState.EXPIRED.value if late else pending.state,
        "file": file_object(upload) if upload is not None else None,
    }


def part_object(part: UploadPart) -> dict[str, Any]:
    """OpenAI's part object."""
    return {
        "id": f"{PART_PREFIX}{part.pk}",
        "object": "upload.part",
        "created_at": int(part.created_at.timestamp()),
        "upload_id": f"{UPLOAD_PREFIX}{part.pending_id}",
    }
