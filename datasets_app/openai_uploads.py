"""``/v1/uploads`` as the official ``openai`` SDK speaks it: large files in parts."""

from __future__ import annotations

import json
from typing import Any

from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.urls import path

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import key_view
from datasets_app import operations
from datasets_app.choices import PendingState, Purpose
from datasets_app.models import PendingUpload
from datasets_app.operations.uploads import check_size, clean_name, file_digest
from datasets_app.queries.arriving import (
    UPLOAD_PREFIX,
    part_object,
    pending_uploads_of,
    same_part,
    same_pending,
    upload_object,
)
from finetune_engine.errors import UserError

_ENVELOPE_BYTES = 4096  # of a multipart body
_CREATE = {"filename", "purpose", "bytes", "mime_type", "expires_after"}
_COMPLETE = {"part_ids", "md5"}


def is_repeated(request: HttpRequest) -> bool:
    """Whether the SDK sends this request again after a failure that it saw."""
    return (request.headers.get("x-stainless-retry-count") or "0").strip() not in {"", "0"}


def pending_of(actor: Actor, upload_id: str) -> PendingUpload:
    """The project's upload with this ``upload_...`` id. Raises UserError (404) naming the parameter."""
    try:
        if not upload_id.startswith(UPLOAD_PREFIX):
            raise Http404
        return fetch(actor, pending_uploads_of(actor.project), pk=upload_id.removeprefix(UPLOAD_PREFIX))
    except Http404 as error:
        raise UserError(
            "upload_not_found", f"There is no upload {upload_id[:60]!r} in this project.", "upload_id", status=404
        ) from error


@key_view({"POST": Act.TRAIN})
def uploads(request: HttpRequest, actor: Actor) -> HttpResponseBase:
    """Announce a file."""
    body = _body(request, _CREATE)
    for name in ("filename", "purpose", "bytes", "mime_type"):
        if body.get(name) in (None, ""):
            raise UserError("missing_parameter", f"Missing required parameter: '{name}'.", name, status=400)
    for name in ("filename", "purpose", "mime_type"):
        if not isinstance(body[name], str):
            raise UserError("invalid_type", f"'{name}' must be a string.", name, status=400)
    size = body["bytes"]
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise UserError("invalid_value", "'bytes' must be a whole number above 0.", "bytes", status=400)
    if body.get("expires_after") is not None:
        raise UserError(
            "unsupported_parameter", "Files do not expire here; leave out 'expires_after'.", "expires_after", status=400
        )
    pending = None
    if is_repeated(request):
        name = clean_name(body["filename"])
        pending = same_pending(actor, name=name, size=size, purpose=body["purpose"])
    pending = pending or operations.begin_upload(
        actor=actor, name=body["filename"], size=size, purpose=body["purpose"], mime_type=body["mime_type"]
    )
    return JsonResponse(upload_object(pending))


@key_view({"POST": Act.TRAIN})
def parts(request: HttpRequest, actor: Actor, upload_id: str) -> HttpResponseBase:
    """Add a part: the multipart part ``data``."""
    pending = pending_of(actor, upload_id)
    check_size(int(request.META.get("CONTENT_LENGTH") or 0) - _ENVELOPE_BYTES)
    data = request.FILES.get("data")
    if unknown := sorted((set(request.POST) | set(request.FILES)) - {"data"}):
        raise UserError(
            "unknown_parameter", f"Unrecognized parameter: {unknown[0][:60]!r}.", unknown[0][:60], status=400
        )
    if data is None:
        raise UserError("missing_parameter", "A part is needed: send it as 'data'.", field="data", status=400)
    part = same_part(pending, sha256=file_digest(data)[0]) if is_repeated(request) else None
    part = part or operations.store_part(actor=actor, pending=pending, content=data)
    return JsonResponse(part_object(part))


@key_view({"POST": Act.TRAIN})
def complete(request: HttpRequest, actor: Actor, upload_id: str) -> HttpResponseBase:
    """Put the parts together in the order of ``part_ids``; the file is then as one of ``/v1/files``."""
    pending = pending_of(actor, upload_id)
    body = _body(request, _COMPLETE)
    part_ids, md5 = body.get("part_ids"), body.get("md5")
    if not isinstance(part_ids, list) or not part_ids or not all(isinstance(part, str) for part in part_ids):
        raise UserError(
            "invalid_value", "'part_ids' must be a list of the parts' ids in their order.", "part_ids", status=400
        )
    if md5 is not None and not isinstance(md5, str):
        raise UserError("invalid_type", "'md5' must be a string.", "md5", status=400)
    was_open = pending.state == PendingState.PENDING
    if pending.state == PendingState.COMPLETED and not is_repeated(request):
        raise UserError("upload_not_open", "This upload is complete already.", "upload_id", status=400)
    upload = operations.complete_upload(actor=actor, pending=pending, part_ids=part_ids, md5=md5)
    if was_open and upload.purpose == Purpose.FINE_TUNE and not upload.datasets.exists():
        operations.create_dataset(actor=actor, upload=upload)
    return JsonResponse(upload_object(pending_of(actor, upload_id)))


@key_view({"POST": Act.TRAIN})
def cancel(request: HttpRequest, actor: Actor, upload_id: str) -> HttpResponseBase:
    """Give the upload up."""
    pending = pending_of(actor, upload_id)
    if pending.state != PendingState.CANCELLED or not is_repeated(request):
        pending = operations.cancel_upload(actor=actor, pending=pending)
    return JsonResponse(upload_object(pending))


def _body(request: HttpRequest, known: set[str]) -> dict[str, Any]:
    try:
        body = json.loads(request.body or b"{}")
    except (ValueError, RecursionError) as error:
        raise UserError("invalid_json", "The body could not be read as JSON.", status=400) from error
    if not isinstance(body, dict):
        raise UserError("invalid_type", "The body must be a JSON object.", status=400)
    if unknown := sorted(set(body) - known):
        raise UserError(
            "unknown_parameter", f"Unrecognized parameter: {unknown[0][:60]!r}.", unknown[0][:60], status=400
        )
    return body


urlpatterns = [
    path("uploads", uploads, name="v1_uploads"),
    path("uploads/<str:upload_id>/parts", parts, name="v1_upload_parts"),
    path("uploads/<str:upload_id>/complete", complete, name="v1_upload_complete"),
    path("uploads/<str:upload_id>/cancel", cancel, name="v1_upload_cancel"),
]
