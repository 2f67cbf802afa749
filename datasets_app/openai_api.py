"""``/v1/files`` as the official ``openai`` SDK speaks it."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.urls import path

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import key_view
from datasets_app import openai_uploads, operations, queries
from datasets_app.choices import Purpose
from datasets_app.models import Upload
from datasets_app.operations.uploads import check_size, file_digest
from datasets_app.queries.files import FILE_PREFIX
from datasets_app.streaming import attachment, stored_parts
from finetune_engine.errors import UserError

MOST_FILES = 10_000
_PARAMETERS = {"purpose", "file", "expires_after[anchor]", "expires_after[seconds]"}


def upload_of(actor: Actor, file_id: str) -> Upload:
    """The project's file with this ``file-...`` id. Raises UserError (404) naming the parameter."""
    try:
        if not file_id.startswith(FILE_PREFIX):
            raise Http404
        return fetch(actor, queries.uploads_of(actor.project), pk=file_id.removeprefix(FILE_PREFIX))
    except Http404 as error:
        raise UserError(
            "file_not_found", f"There is no file {file_id[:60]!r} in this project.", field="file_id", status=404
        ) from error


@key_view({"GET": Act.VIEW, "POST": Act.TRAIN})
def files(request: HttpRequest, actor: Actor) -> HttpResponseBase:
    """List the project's files, or upload one."""
    return JsonResponse(_create(request, actor) if request.method == "POST" else _listing(request, actor))


@key_view({"GET": Act.VIEW, "DELETE": Act.TRAIN})
def file(request: HttpRequest, actor: Actor, file_id: str) -> HttpResponseBase:
    """Read or delete one file. What was made from a deleted file stays."""
    upload = upload_of(actor, file_id)
    if request.method == "DELETE":
        operations.delete_upload(actor=actor, upload=upload)
        return JsonResponse({"id": file_id, "object": "file", "deleted": True})
    return JsonResponse(queries.file_object(upload))


@key_view({"GET": Act.VIEW})
def content(request: HttpRequest, actor: Actor, file_id: str) -> HttpResponseBase:
    """The bytes as they were uploaded."""
    upload = upload_of(actor, file_id)
    operations.record_download(actor=actor, act="upload.download", subject=f"upload {upload.pk}")
    response = attachment(
        request, stored_parts(upload.storage_name), name=upload.name, content_type="application/octet-stream"
    )
    response["Content-Length"] = str(upload.size)
    return response


def _create(request: HttpRequest, actor: Actor) -> dict[str, Any]:
    check_size(int(request.META.get("CONTENT_LENGTH") or 0) - 4096)  # the envelope of a multipart body
    given = request.FILES.get("file")
    purpose = request.POST.get("purpose", "")
    if unknown := sorted((set(request.POST) | set(request.FILES)) - _PARAMETERS):
        raise UserError(
            "unknown_parameter", f"Unrecognized parameter: {unknown[0][:60]!r}.", unknown[0][:60], status=400
        )
    if given is None:
        raise UserError("missing_file", "A file is needed: send it as the part 'file'.", field="file", status=400)
    if not purpose:
        raise UserError("missing_purpose", "A purpose is needed, such as 'fine-tune'.", field="purpose", status=400)
    if any(name.startswith("expires_after") for name in request.POST):
        raise UserError(
            "unsupported_parameter", "Files do not expire here; leave out 'expires_after'.", "expires_after", status=400
        )
    if openai_uploads.is_repeated(request):
        first = queries.same_upload(actor, sha256=file_digest(given)[0], purpose=purpose)
        if first is not None:
            return queries.file_object(first)
    upload = operations.store_upload(actor=actor, file=given, name=given.name or "upload", purpose=purpose)
    if purpose == Purpose.FINE_TUNE:
        operations.create_dataset(actor=actor, upload=upload)
    return queries.file_object(upload_of(actor, f"{FILE_PREFIX}{upload.pk}"))


def _listing(request: HttpRequest, actor: Actor) -> dict[str, Any]:
    """OpenAI's list: ``after``, ``limit``, ``order`` (newest first unless ``asc``) and ``purpose``."""
    get = request.GET.get
    order, limit = get("order", "desc"), get("limit", str(MOST_FILES))
    if order not in {"asc", "desc"}:
        raise UserError("invalid_value", "The order must be 'asc' or 'desc'.", field="order", status=400)
    if not (limit.isascii() and limit.isdigit() and len(limit) < 10 and 1 <= int(limit) <= MOST_FILES):
        raise UserError("invalid_value", f"The limit must be from 1 to {MOST_FILES}.", field="limit", status=400)
    rows = queries.uploads_of(actor.project).order_by("id" if order == "asc" else "-id")
    if purpose := get("purpose", ""):
        if purpose not in Purpose.values:
            raise UserError("invalid_value", f"There is no purpose {purpose[:40]!r}.", field="purpose", status=400)
        rows = rows.filter(purpose=purpose)
    if after := get("after", ""):
        mark = after.removeprefix(FILE_PREFIX)
        rows = rows.filter(Q(id__gt=mark) if order == "asc" else Q(id__lt=mark))
    found = list(rows[: int(limit) + 1])
    data = [queries.file_object(upload) for upload in found[: int(limit)]]
    return {
        "object": "list",
        "data": data,
        "has_more": len(found) > int(limit),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


urlpatterns = [
    *openai_uploads.urlpatterns,
    path("files", files, name="v1_files"),
    path("files/<str:file_id>", file, name="v1_file"),
    path("files/<str:file_id>/content", content, name="v1_file_content"),
]
