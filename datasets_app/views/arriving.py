"""A file in parts, as the upload page's script sends it: begin, parts in order, complete. JSON in, JSON out.

After a reload or a lost connection the script asks how much is here and goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, UnreadablePostError
from django.shortcuts import redirect
from django.urls import reverse

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from datasets_app import operations
from datasets_app.choices import PendingState
from datasets_app.models import PendingUpload
from datasets_app.operations.pending import MOST_PART_BYTES, received_bytes
from datasets_app.queries.arriving import pending_uploads_of
from finetune_engine.errors import UserError
from web_kit.errors import json_error

PART_BYTES = 4 * 2**20  # what the script sends at once; a lost connection costs one such part


def answers_json(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Mistakes as JSON, since a script asks."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except UserError as error:
            return json_error(request, error)

    return answered


@project_page({"POST": Act.TRAIN})
@answers_json
def begin(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Announce a file: ``{"name", "size"}`` in, its addresses out."""
    body = _body(request)
    size = body.get("size")
    if not isinstance(size, int) or isinstance(size, bool):
        raise UserError("invalid_value", "Say the size of the file in bytes.", field="size")
    pending = operations.begin_upload(
        actor=actor, name=str(body.get("name") or "upload"), size=size, mime_type=str(body.get("type") or "")
    )
    return JsonResponse(_state(actor, pending), status=201)


@project_page({"GET": Act.TRAIN})
@answers_json
def state(request: HttpRequest, actor: Actor, pending_id: str) -> HttpResponse:
    """How much of the file is here."""
    return JsonResponse(_state(actor, _pending(actor, pending_id)))


@project_page({"POST": Act.TRAIN})
@answers_json
def part(request: HttpRequest, actor: Actor, pending_id: str) -> HttpResponse:
    """One part as the request's body, at ``?offset=``."""
    pending = _pending(actor, pending_id)
    store_sent_part(request, actor, pending, request.GET.get("offset", ""))
    return JsonResponse(_state(actor, pending))


@project_page({"POST": Act.TRAIN})
@answers_json
def complete(request: HttpRequest, actor: Actor, pending_id: str) -> HttpResponse:
    """All parts are here: make them one file and go to its preview."""
    upload = operations.complete_upload(actor=actor, pending=_pending(actor, pending_id))
    into = request.GET.get("into", "")
    url = reverse("datasets:preview", args=[actor.project.slug, upload.pk])
    return JsonResponse({"url": f"{url}?into={into}" if into.isalnum() else url})


@project_page({"POST": Act.TRAIN})
def cancel(request: HttpRequest, actor: Actor, pending_id: str) -> HttpResponse:
    """Throw away what has arrived."""
    pending = _pending(actor, pending_id)
    if pending.state == PendingState.PENDING:
        operations.cancel_upload(actor=actor, pending=pending)
    if "application/json" in request.headers.get("Accept", ""):
        return JsonResponse({})
    return redirect("datasets:upload", actor.project.slug)


def store_sent_part(request: HttpRequest, actor: Actor, pending: PendingUpload, offset: str) -> None:
    """Keep the request's body as the part at ``offset``. The body is never in memory as a whole."""
    if not (offset.isascii() and offset.isdigit() and len(offset) < 16):
        raise UserError("invalid_value", "Say at which byte this part begins: ?offset=0.", field="offset", status=400)
    announced = request.META.get("CONTENT_LENGTH") or ""
    try:
        operations.store_part(
            actor=actor,
            pending=pending,
            content=request,
            announced=int(announced) if announced.isdecimal() else None,
            offset=int(offset),
        )
    except UnreadablePostError as error:
        raise UserError(
            "incomplete_part", "The connection was lost within this part. Send it again.", status=400
        ) from error


def _pending(actor: Actor, pending_id: str) -> PendingUpload:
    return fetch(actor, pending_uploads_of(actor.project), pk=pending_id)


def _state(actor: Actor, pending: PendingUpload) -> dict[str, Any]:
    def here(name: str) -> str:
        return reverse(f"datasets:{name}", args=[actor.project.slug, pending.pk])

    return {
        "id": pending.pk,
        "name": pending.name,
        "size": pending.size,
        "status": pending.state,
        "received": received_bytes(pending) if pending.state == PendingState.PENDING else pending.size,
        "part_bytes": min(PART_BYTES, MOST_PART_BYTES),
        "state_url": here("arriving_state"),
        "part_url": here("arriving_part"),
        "complete_url": here("arriving_complete"),
        "cancel_url": here("arriving_cancel"),
    }


def _body(request: HttpRequest) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise UserError("bad_request", "The request must be a JSON object.", status=400)
    return body
