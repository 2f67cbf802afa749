"""The native API of arriving files: uploads in parts, the files of a dataset, and checking it again."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, File, Form, Router, Schema, Status
from ninja.files import UploadedFile
from pydantic import ConfigDict

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from datasets_app import operations, queries
from datasets_app.api_schemas import Accepted
from datasets_app.choices import PendingState, Purpose
from datasets_app.models import PendingUpload, Upload
from datasets_app.operations.import_settings import reading_of
from datasets_app.operations.pending import MOST_PART_BYTES, received_bytes
from datasets_app.operations.uploads import check_size
from datasets_app.queries.arriving import pending_uploads_of
from datasets_app.queries.files import FILE_PREFIX
from datasets_app.queries.sources import SourceCard
from datasets_app.views.arriving import store_sent_part
from datasets_app.views.detail import dataset_of
from datasets_app.views.sources import fetch_source
from finetune_engine.errors import UserError

router = Router(tags=["Data"])


class UploadIn(Schema):
    """A file that will arrive in parts. ``size`` in bytes."""

    model_config = ConfigDict(extra="forbid")

    name: str
    size: int
    purpose: str = Purpose.FINE_TUNE.value


class UploadOut(Schema):
    """An upload in parts. ``received`` is also the offset of the next part; ``file_id`` is set once it is complete."""

    id: str
    name: str
    size: int
    received: int
    status: Literal["pending", "completed", "cancelled", "expired"]
    most_part_bytes: int
    expires_at: datetime
    file_id: str | None


class SourceOut(Schema):
    """One file of a dataset. ``status`` is ``used``, ``removed``, ``adding``, ``removing`` or ``restoring``."""

    number: int
    file: str
    file_id: str
    size: int
    status: Literal["used", "removed", "adding", "removing", "restoring"]
    first_row: int
    rows: int
    format: str | None
    file_type: str | None
    encoding: str | None
    columns: list[str]
    mapping: dict[str, Any] | None
    added_at: datetime


class SourceList(Schema):
    """All files of a dataset, those taken out included."""

    data: list[SourceOut]
    next_cursor: str | None = None


class ReadingIn(Schema):
    """How the file with this number is read from now on."""

    model_config = ConfigDict(extra="forbid")

    number: int
    format: str = "auto"
    mapping: dict[str, Any] | None = None


class RecheckIn(Schema):
    """Settings of the new check; those that are left out stay as they are. ``sources`` names files that are to be read
    in another way."""

    model_config = ConfigDict(extra="forbid")

    task_type: str | None = None
    over_length: str | None = None
    base_model: str | None = None
    context_tokens: int | None = None
    sources: list[ReadingIn] = Field(default_factory=list)


def actor_of(request: HttpRequest) -> Actor:
    """Whose key it is."""
    actor: Actor = request.auth  # type: ignore[attr-defined]  # set by ninja
    return actor


def key_of(request: HttpRequest) -> str | None:
    """The request's idempotency key."""
    return (request.headers.get("Idempotency-Key") or "")[:200] or None


def given_upload(actor: Actor, file: UploadedFile | None, file_id: str, url: str) -> Upload:
    """The file that a call means: sent with it, uploaded before, or at a web address. Raises UserError."""
    if [file is not None, bool(file_id), bool(url)].count(True) > 1:
        raise UserError("one_file", "Give one of 'file', 'file_id' and 'url'.", field="file")
    if file is not None:
        check_size(file.size or 0)
        return operations.store_upload(actor=actor, file=file, name=file.name or "upload")
    if file_id:
        found = Upload.objects.filter(
            project=actor.project, pk=file_id.removeprefix(FILE_PREFIX), deleted_at=None
        ).first()
        if found is None:
            raise UserError("file_not_found", f"There is no file {file_id[:60]!r} in this project.", "file_id")
        return found
    if url:
        return operations.fetch_upload(actor=actor, url=url)
    raise UserError(
        "missing_file",
        "A file is needed: send it as the part 'file' of a multipart body, or name it by 'file_id' or 'url'.",
        field="file",
    )


def given_mapping(text: str) -> dict[str, Any] | None:
    """The mapping of a form field. Raises UserError unless it is empty or a JSON object."""
    if not text.strip():
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if not isinstance(value, dict):
        raise UserError(
            "bad_mapping",
            'The mapping must be a JSON object such as {"prompt": "question", "completion": "answer"}.',
            field="mapping",
        )
    return value


# --- uploads in parts ---------------------------------------------------------------------------------------------


@router.post("/uploads", auth=key_auth(Act.TRAIN), response={201: UploadOut}, summary="Begin an upload in parts")
def begin_upload(request: HttpRequest, wanted: UploadIn) -> Status[UploadOut]:
    """Announce a file; then ``PUT`` its parts in order, then ``complete`` it."""
    pending = operations.begin_upload(
        actor=actor_of(request), name=wanted.name, size=wanted.size, purpose=wanted.purpose
    )
    return Status(201, _upload_out(pending))


@router.get("/uploads/{upload_id}", auth=key_auth(Act.VIEW), response=UploadOut, summary="How much has arrived")
def get_upload(request: HttpRequest, upload_id: str) -> UploadOut:
    """After a lost connection: go on from ``received``."""
    return _upload_out(_pending(actor_of(request), upload_id))


@router.put("/uploads/{upload_id}/parts", auth=key_auth(Act.TRAIN), response=UploadOut, summary="Send a part")
def put_part(request: HttpRequest, upload_id: str, offset: int) -> UploadOut:
    """The part's bytes are the body; ``offset`` is where they belong. A part may be sent twice; a wrong offset is
    answered with 409, with the right one in ``expected``."""
    actor = actor_of(request)
    pending = _pending(actor, upload_id)
    store_sent_part(request, actor, pending, str(offset))
    return _upload_out(pending)


@router.post("/uploads/{upload_id}/complete", auth=key_auth(Act.TRAIN), response=UploadOut, summary="Complete it")
def complete_upload(request: HttpRequest, upload_id: str) -> UploadOut:
    """All parts are here. Use ``file_id`` with ``POST /datasets`` or ``POST /datasets/{id}/sources``."""
    actor = actor_of(request)
    pending = _pending(actor, upload_id)
    operations.complete_upload(actor=actor, pending=pending)
    return _upload_out(pending)


@router.delete("/uploads/{upload_id}", auth=key_auth(Act.TRAIN), response={204: None}, summary="Give it up")
def cancel_upload(request: HttpRequest, upload_id: str) -> Status[None]:
    """Removes what has arrived. A file that is complete stays."""
    actor = actor_of(request)
    operations.cancel_upload(actor=actor, pending=_pending(actor, upload_id))
    return Status(204, None)


def _pending(actor: Actor, upload_id: str) -> PendingUpload:
    return fetch(actor, pending_uploads_of(actor.project), pk=upload_id)


def _upload_out(pending: PendingUpload) -> UploadOut:
    return UploadOut(
        id=pending.pk,
        name=pending.name,
        size=pending.size,
        received=pending.size if pending.state == PendingState.COMPLETED else received_bytes(pending),
        status=pending.state,  # type: ignore[arg-type]  # the states are the four words
        most_part_bytes=MOST_PART_BYTES,
        expires_at=pending.expires_at,
        file_id=f"{FILE_PREFIX}{pending.upload_id}" if pending.upload_id else None,
    )


# --- the files of a dataset ---------------------------------------------------------------------------------------


@router.get("/datasets/{dataset_id}/sources", auth=key_auth(Act.VIEW), response=SourceList, summary="Its files")
def list_sources(request: HttpRequest, dataset_id: str) -> SourceList:
    """In the order of their rows."""
    return SourceList(
        data=[_source_out(card) for card in queries.source_cards(dataset_of(actor_of(request), dataset_id))]
    )


@router.post("/datasets/{dataset_id}/sources", auth=key_auth(Act.TRAIN), response={202: Accepted}, summary="Add a file")
def add_source(
    request: HttpRequest,
    dataset_id: str,
    file: File[UploadedFile | None] = None,
    file_id: Form[str] = "",
    url: Form[str] = "",
    format: Form[str] = "auto",
    mapping: Form[str] = "",
) -> Status[Accepted]:
    """Checks all files together again; the dataset stays readable meanwhile, and what people decided stays. ``id`` is
    that of the job."""
    actor = actor_of(request)
    dataset = dataset_of(actor, dataset_id)
    if first := queries.import_with_key(actor.project, key_of(request)):
        return Status(202, Accepted(id=first.pk, status="processing"))
    reading = reading_of(format or "auto", given_mapping(mapping))
    if queries.running_check(dataset) is not None:  # before the file is stored
        raise UserError("being_checked", "This dataset is being checked. Try again when that is done.", status=409)
    upload = given_upload(actor, file, file_id, url)
    job = operations.append_file(
        actor=actor, dataset=dataset, upload=upload, idempotency_key=key_of(request), **reading
    )
    return Status(202, Accepted(id=job.pk, status="processing"))


@router.delete(
    "/datasets/{dataset_id}/sources/{number}", auth=key_auth(Act.TRAIN), response={202: Accepted}, summary="Take it out"
)
def remove_source(request: HttpRequest, dataset_id: str, number: int) -> Status[Accepted]:
    """Undo the import of one file. It can be restored."""
    actor = actor_of(request)
    dataset = dataset_of(actor, dataset_id)
    job = operations.remove_file(actor=actor, dataset=dataset, source=fetch_source(dataset, number))
    return Status(202, Accepted(id=job.pk, status="processing"))


@router.post(
    "/datasets/{dataset_id}/sources/{number}/restore",
    auth=key_auth(Act.TRAIN),
    response={202: Accepted},
    summary="Bring it back",
)
def restore_source(request: HttpRequest, dataset_id: str, number: int) -> Status[Accepted]:
    """A file that was taken out is part of the dataset again."""
    actor = actor_of(request)
    dataset = dataset_of(actor, dataset_id)
    job = operations.restore_file(actor=actor, dataset=dataset, source=fetch_source(dataset, number))
    return Status(202, Accepted(id=job.pk, status="processing"))


@router.post(
    "/datasets/{dataset_id}/recheck", auth=key_auth(Act.TRAIN), response={202: Accepted}, summary="Check all rows again"
)
def recheck(request: HttpRequest, dataset_id: str, wanted: RecheckIn | None = None) -> Status[Accepted]:
    """With other settings, and with what the project decided about cleaning."""
    actor = actor_of(request)
    dataset = dataset_of(actor, dataset_id)
    settings = wanted.model_dump(exclude_unset=True, exclude={"sources"}) if wanted else {}
    readings = {}
    for reading in wanted.sources if wanted else []:
        readings[fetch_source(dataset, reading.number).number] = reading_of(reading.format, reading.mapping)
    job = operations.recheck_dataset(
        actor=actor, dataset=dataset, settings=settings, readings=readings, idempotency_key=key_of(request)
    )
    return Status(202, Accepted(id=job.pk, status="processing"))


def _source_out(card: SourceCard) -> SourceOut:
    report = card.source.report or {}
    return SourceOut(
        number=card.number,
        file=card.name,
        file_id=f"{FILE_PREFIX}{card.source.upload_id}",
        size=card.size,
        status=card.state,  # type: ignore[arg-type]  # the states are the five words
        first_row=card.first_row,
        rows=card.rows,
        format=report.get("format"),
        file_type=report.get("file_type"),
        encoding=report.get("encoding"),
        columns=card.columns,
        mapping=report.get("mapping"),
        added_at=card.added_at,
    )
