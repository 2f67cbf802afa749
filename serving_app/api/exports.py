"""Models as files, as the page Take away."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase
from ninja import Router, Schema, Status

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from finetune_engine.errors import UserError
from serving_app.archive_files import archive_download
from serving_app.operations.exports import delete_export, start_export
from serving_app.queries import named_model
from serving_app.queries.exports import export_card, exports_of
from web_kit.pagination import paginate

router = Router(tags=["serving"])


class NewExport(Schema):
    """``model`` is a trained model's API name or id; ``kind`` is merged, adapter or gguf."""

    model: str
    kind: str = "merged"


@router.post("/exports", auth=key_auth(Act.TRAIN), response={202: Any}, summary="Write a model as files")
def create(request: HttpRequest, payload: NewExport) -> Any:
    """A job writes the archive and compares it with the served model; ask for its ``status``."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    model = named_model(actor.project, payload.model)
    if model is None:
        raise UserError("model_not_found", f"There is no trained model {payload.model!r} here.", "model", status=404)
    key = request.headers.get("Idempotency-Key")
    export = start_export(actor=actor, trained_model=model, kind=payload.kind, idempotency_key=key)
    return Status(202, export_card(export).as_dict())


@router.get("/exports", auth=key_auth(Act.VIEW), response=Any, summary="List exports")
def exports(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    page = paginate(exports_of(actor.project), order=("-id",), limit=limit, cursor=cursor)
    return {"data": [export_card(row).as_dict() for row in page], "next_cursor": page.next_cursor}


@router.get("/exports/{export_id}", auth=key_auth(Act.VIEW), response=Any, summary="One export")
def export(request: HttpRequest, export_id: str) -> Any:
    """Its state and what was checked."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return export_card(fetch(actor, exports_of(actor.project), pk=export_id)).as_dict()


@router.get("/exports/{export_id}/download", auth=key_auth(Act.VIEW), summary="The archive")
def download(request: HttpRequest, export_id: str) -> HttpResponseBase:
    """A zip."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return archive_download(request, actor, fetch(actor, exports_of(actor.project), pk=export_id))


@router.delete("/exports/{export_id}", auth=key_auth(Act.TRAIN), response={204: None}, summary="Delete an export")
def remove(request: HttpRequest, export_id: str) -> Any:
    """The archive goes; the model stays."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    delete_export(actor=actor, export=fetch(actor, exports_of(actor.project), pk=export_id))
    return Status(204, None)
