"""Files that arrive in parts. A part goes to the storage as it comes in; the whole file is put together at the end.

The pages and ``/api/v1`` say where each part belongs (``offset``) and send them one after the other, so that what has
arrived is always the beginning of the file. ``/v1/uploads`` names the order at the end.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Protocol

from django.core.files.storage import default_storage
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import transaction
from django.db.models import Sum
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.choices import PendingState, Purpose
from datasets_app.models import PendingUpload, Upload, UploadPart
from datasets_app.operations.uploads import (
    check_purpose,
    check_size,
    clean_name,
    empty_file,
    fresh_name,
    record_upload,
)
from finetune_engine.errors import Place, UserError

MOST_PART_BYTES = 64 * 2**20
MOST_PENDING = 50  # per project
EXPIRES_AFTER = timedelta(hours=24)
_BLOCK = 1 << 20


class Readable(Protocol):
    """Anything that gives bytes."""

    def read(self, size: int = ..., /) -> bytes:
        """Up to ``size`` bytes; none at the end."""


def begin_upload(
    *, actor: Actor, name: str, size: int, purpose: str = Purpose.FINE_TUNE, mime_type: str = ""
) -> PendingUpload:
    """Announce a file of ``size`` bytes. Raises UserError for a size of 0 or above the limit (413), an unknown purpose
    (400), and when too many uploads are unfinished (429)."""
    check_purpose(purpose)
    check_size(size)
    if size <= 0:
        raise empty_file()
    with transaction.atomic():
        open_ones = PendingUpload.objects.filter(project=actor.project, state=PendingState.PENDING)
        if open_ones.filter(expires_at__gt=timezone.now()).count() >= MOST_PENDING:
            raise UserError(
                "too_many_uploads",
                f"{MOST_PENDING} uploads of this project are unfinished. Finish or cancel some of them first.",
                status=429,
            )
        pending = PendingUpload.objects.create(
            project=actor.project,
            name=clean_name(name),
            size=size,
            mime_type=mime_type[:100],
            purpose=purpose,
            created_by=actor.user,
            created_by_key=actor.api_key,
            expires_at=timezone.now() + EXPIRES_AFTER,
        )
        record(
            actor=actor,
            project=actor.project,
            act="upload.begin",
            subject=f"pending upload {pending.pk}",
            data={"size": size},
        )
    return pending


def received_bytes(pending: PendingUpload) -> int:
    """How much of the file is here; where parts are sent in order, also the offset of the next."""
    return int(UploadPart.objects.filter(pending=pending).aggregate(sum=Sum("size"))["sum"] or 0)


def store_part(
    *,
    actor: Actor,
    pending: PendingUpload,
    content: Readable,
    announced: int | None = None,
    offset: int | None = None,
) -> UploadPart:
    """Keep one part. ``announced`` is its size as the request says it, ``offset`` its place in the file (None when the
    order is said at the end). A part that is here already is returned as it is.

    Raises UserError: ``wrong_offset`` (409, with the right one as ``expected``), ``incomplete_part`` (400) when fewer
    bytes came than announced, ``part_too_large`` (413), ``beyond_the_end`` (422), and when the upload is not open.
    """
    _check_open(pending)
    received = received_bytes(pending)
    if offset is not None:
        _check_offset(pending, offset, received)
    most = _most_bytes(pending, received, offset)
    with TemporaryUploadedFile("part", "", 0, "") as file:
        size, sha256 = _spool(content, file, most, pending)
        if announced is not None and size != announced:
            raise UserError(
                "incomplete_part",
                f"This part was announced with {announced:,} bytes, but {size:,} arrived. Send it again.",
                status=400,
            )
        if size == 0:
            raise UserError("empty_part", "This part has no bytes.", field="data", status=400)
        if offset is not None and (same := _part_at(pending, offset)):
            return _same_part(same, size, sha256, received)
        file.size = size
        name = default_storage.save(f"{_folder(pending)}/{secrets.token_hex(16)}", file)
    part = _record_part(pending, offset, size, sha256, name)
    if part.storage_name != name:
        default_storage.delete(name)  # the same part came twice at the same time
    return part


def _record_part(pending: PendingUpload, offset: int | None, size: int, sha256: str, name: str) -> UploadPart:
    try:
        with transaction.atomic():
            locked = PendingUpload.objects.select_for_update().get(pk=pending.pk)
            _check_open(locked)
            if offset is not None:
                received = received_bytes(locked)
                if same := _part_at(locked, offset):
                    return _same_part(same, size, sha256, received)
                _check_offset(locked, offset, received)
            return UploadPart.objects.create(pending=locked, offset=offset, size=size, sha256=sha256, storage_name=name)
    except UserError:
        default_storage.delete(name)
        raise


def complete_upload(
    *, actor: Actor, pending: PendingUpload, part_ids: Sequence[str] | None = None, md5: str | None = None
) -> Upload:
    """Put the parts together, in the order of ``part_ids`` or by their offsets; the upload is then a file like any other.
    An upload that is complete already gives the same file again.

    Raises UserError (400) for parts that are missing, unknown or named twice, and for another ``md5`` (hex).
    """
    if pending.state == PendingState.COMPLETED and pending.upload is not None:
        return pending.upload
    _check_open(pending)
    parts = _ordered(pending, part_ids)
    size = sum(part.size for part in parts)
    if size != pending.size:
        raise UserError(
            "incomplete_upload",
            f"The file was announced with {pending.size:,} bytes, but {size:,} are here.",
            field="part_ids" if part_ids is not None else None,
            place=Place(found=str(size), expected=str(pending.size)),
            status=400,
        )
    storage_name, sha256 = _joined(pending, parts, md5)
    return _become_upload(actor, pending, storage_name, sha256)


def _become_upload(actor: Actor, pending: PendingUpload, storage_name: str, sha256: str) -> Upload:
    with transaction.atomic():
        locked = PendingUpload.objects.select_for_update().get(pk=pending.pk)
        if locked.state == PendingState.PENDING:
            upload = record_upload(
                actor=actor,
                name=pending.name,
                size=pending.size,
                sha256=sha256,
                storage_name=storage_name,
                purpose=pending.purpose,
            )
            PendingUpload.objects.filter(pk=pending.pk).update(state=PendingState.COMPLETED, upload=upload)
            _forget_parts(locked)
    pending.refresh_from_db()
    if locked.state != PendingState.PENDING:  # somebody else was first
        default_storage.delete(storage_name)
        if pending.upload is None:
            raise _not_open(pending)
        return pending.upload
    return upload


def cancel_upload(*, actor: Actor, pending: PendingUpload) -> PendingUpload:
    """Give up a file that is still arriving; its parts are removed. Raises UserError when it is complete or gone."""
    with transaction.atomic():
        moved = PendingUpload.objects.filter(pk=pending.pk, state=PendingState.PENDING).update(
            state=PendingState.CANCELLED
        )
        if not moved:
            pending.refresh_from_db()
            raise _not_open(pending)
        record(actor=actor, project=actor.project, act="upload.cancel", subject=f"pending upload {pending.pk}")
        _forget_parts(pending)
    pending.refresh_from_db()
    return pending


def expire_pending_uploads() -> int:
    """Remove the parts of uploads that were never finished. Returns how many uploads."""
    late = PendingUpload.objects.filter(state=PendingState.PENDING, expires_at__lte=timezone.now())
    done = 0
    for pending in late.order_by("expires_at")[:100]:
        with transaction.atomic():
            moved = late.filter(pk=pending.pk).update(state=PendingState.EXPIRED)
            if moved:
                _forget_parts(pending)
                done += 1
    return done


def _forget_parts(pending: PendingUpload) -> None:
    names = list(UploadPart.objects.filter(pending=pending).values_list("storage_name", flat=True))
    UploadPart.objects.filter(pending=pending).delete()

    def delete() -> None:
        for name in names:
            default_storage.delete(name)
        try:
            default_storage.delete(_folder(pending))
        except OSError:
            pass  # a part that came too late lies there until the folder is looked at again

    transaction.on_commit(delete)


def _folder(pending: PendingUpload) -> str:
    return f"uploads/{pending.project_id}/parts/{pending.pk}"


def _check_open(pending: PendingUpload) -> None:
    if pending.state != PendingState.PENDING or pending.expires_at <= timezone.now():
        raise _not_open(pending)


def _not_open(pending: PendingUpload) -> UserError:
    expired = pending.state in {PendingState.PENDING, PendingState.EXPIRED}
    word = "has expired" if expired else "is complete" if pending.state == PendingState.COMPLETED else "was cancelled"
    return UserError("upload_not_open", f"This upload {word}. Begin a new one.", field="upload_id", status=409)


def _part_at(pending: PendingUpload, offset: int) -> UploadPart | None:
    return UploadPart.objects.filter(pending=pending, offset=offset).first()


def _check_offset(pending: PendingUpload, offset: int, received: int) -> None:
    if offset != received and _part_at(pending, offset) is None:
        raise _wrong_offset(received)


def _same_part(part: UploadPart, size: int, sha256: str, received: int) -> UploadPart:
    if (part.size, part.sha256) != (size, sha256):
        raise _wrong_offset(received)
    return part


def _wrong_offset(received: int) -> UserError:
    return UserError(
        "wrong_offset",
        f"The next part must begin at byte {received:,}: that much of the file is here. Go on from there.",
        field="offset",
        place=Place(expected=str(received)),
        status=409,
    )


def _most_bytes(pending: PendingUpload, received: int, offset: int | None) -> int:
    if offset is not None:
        return min(MOST_PART_BYTES, pending.size - offset)
    # Parts may be sent again under another id, but not without end.
    return min(MOST_PART_BYTES, 2 * pending.size + MOST_PART_BYTES - received)


def _spool(content: Readable, file: Any, most: int, pending: PendingUpload) -> tuple[int, str]:
    """Copy to the disk, block by block; the size and the SHA-256."""
    digest, size = hashlib.sha256(), 0
    while block := content.read(_BLOCK):
        size += len(block)
        if size > MOST_PART_BYTES:
            words = filesizeformat(MOST_PART_BYTES).replace("\xa0", " ")
            raise UserError("part_too_large", f"A part may have {words} at most.", field="data", status=413)
        if size > most:
            raise UserError(
                "beyond_the_end",
                f"The file was announced with {pending.size:,} bytes; this part goes beyond its end.",
                field="data",
            )
        digest.update(block)
        file.write(block)
    file.flush()
    file.seek(0)
    return size, digest.hexdigest()


def _ordered(pending: PendingUpload, part_ids: Sequence[str] | None) -> list[UploadPart]:
    parts = {part.pk: part for part in UploadPart.objects.filter(pending=pending)}
    if part_ids is None:
        return sorted((part for part in parts.values() if part.offset is not None), key=lambda part: part.offset or 0)
    wanted = [part_id.removeprefix("part_") for part_id in part_ids]
    if len(set(wanted)) != len(wanted):
        raise UserError("repeated_part", "A part is named twice.", field="part_ids", status=400)
    for part_id in wanted:
        if part_id not in parts:
            raise UserError("unknown_part", f"This upload has no part {part_id[:40]!r}.", field="part_ids", status=400)
    return [parts[part_id] for part_id in wanted]


def _joined(pending: PendingUpload, parts: Sequence[UploadPart], md5: str | None) -> tuple[str, str]:
    """Store the whole file; its name in the storage and its SHA-256."""
    sha256, check = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with TemporaryUploadedFile(pending.name, pending.mime_type, pending.size, "") as file:
        for part in parts:
            for block in _blocks(part.storage_name):
                sha256.update(block)
                check.update(block)
                file.write(block)
        if md5 is not None and check.hexdigest() != md5.strip().lower():
            raise UserError(
                "md5_mismatch", "The file that arrived has another MD5. Send the parts again.", field="md5", status=400
            )
        file.flush()
        file.seek(0)
        return default_storage.save(fresh_name(pending.project), file), sha256.hexdigest()


def _blocks(storage_name: str) -> Iterator[bytes]:
    with default_storage.open(storage_name, "rb") as stored:
        while block := stored.read(_BLOCK):
            yield block
