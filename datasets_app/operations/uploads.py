"""Taking in files."""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import transaction
from django.template.defaultfilters import filesizeformat

from accounts_app.models import Project
from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.choices import Purpose
from datasets_app.models import Upload
from finetune_engine.errors import UserError
from web_kit.outgoing import download

NAME_LENGTH = 120
FETCH_SECONDS = 90.0  # for a whole file at a web address


def store_upload(*, actor: Actor, file: File[Any], name: str, purpose: str = Purpose.FINE_TUNE) -> Upload:
    """Keep a file: its bytes under a random name in the storage, its own name cleaned in the table.

    Raises UserError for an unknown purpose (400), an empty file, and one above ``MAX_UPLOAD_BYTES`` (413).
    """
    check_purpose(purpose)
    check_size(file.size or 0)
    sha256, size = file_digest(file)
    check_size(size)
    if size == 0:
        raise empty_file()
    storage_name = default_storage.save(fresh_name(actor.project), file)
    return record_upload(actor=actor, name=name, size=size, sha256=sha256, storage_name=storage_name, purpose=purpose)


def fetch_upload(*, actor: Actor, url: str, purpose: str = Purpose.FINE_TUNE) -> Upload:
    """Keep the file that lies at a web address. Raises UserError (field ``url``) when it may not or cannot be fetched,
    is empty, too large or too slow."""
    check_purpose(purpose)
    with TemporaryUploadedFile("fetched", "", 0, "") as file:
        fetched = download(url, cast(BinaryIO, file), most_bytes=settings.MAX_UPLOAD_BYTES, seconds=FETCH_SECONDS)
        if fetched.size == 0:
            raise UserError("empty_file", "There is a file at this address, but it is empty.", field="url")
        file.flush()
        file.seek(0)
        file.size = fetched.size
        sha256, size = file_digest(file)
        storage_name = default_storage.save(fresh_name(actor.project), file)
    return record_upload(
        actor=actor,
        name=fetched.name,
        size=size,
        sha256=sha256,
        storage_name=storage_name,
        purpose=purpose,
        source=urlsplit(fetched.url).hostname or "",
    )


def record_upload(
    *, actor: Actor, name: str, size: int, sha256: str, storage_name: str, purpose: str, source: str = ""
) -> Upload:
    """The row of a file whose bytes are in the storage already. ``source`` says where it came from, for the audit."""
    with transaction.atomic():
        upload = Upload.objects.create(
            project=actor.project,
            name=clean_name(name),
            size=size,
            sha256=sha256,
            storage_name=storage_name,
            purpose=purpose,
            created_by=actor.user,
            created_by_key=actor.api_key,
        )
        record(
            actor=actor,
            project=actor.project,
            act="upload.create",
            subject=f"upload {upload.pk}",
            data={"size": size, "sha256": sha256} | ({"source": source} if source else {}),
        )
    return upload


def fresh_name(project: Project) -> str:
    """Where the bytes of a new upload go: a random name, whatever the file is called."""
    return f"uploads/{project.pk}/{secrets.token_hex(16)}"


def store_result_file(*, project: Project, name: str, content: bytes) -> Upload:
    """Keep a file that a job made for people to download (``fine-tune-results``)."""
    storage_name = default_storage.save(fresh_name(project), ContentFile(content))
    return Upload.objects.create(
        project=project,
        name=clean_name(name),
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        storage_name=storage_name,
        purpose=Purpose.RESULTS,
    )


def check_purpose(purpose: str) -> None:
    """Raises UserError (400) for a purpose that files cannot be uploaded for."""
    if purpose not in {Purpose.FINE_TUNE, Purpose.EVALS}:
        raise UserError(
            "unknown_purpose",
            f"The purpose {purpose[:40]!r} is not possible; use 'fine-tune' or 'evals'.",
            field="purpose",
            status=400,
        )


def empty_file() -> UserError:
    """What is said about a file of 0 bytes."""
    return UserError(
        "empty_file", "This file is empty: it has 0 bytes. Choose another file or save it again.", field="file"
    )


def check_size(size: int) -> None:
    """Raises UserError (413) for a size above the site's limit."""
    if size > settings.MAX_UPLOAD_BYTES:
        limit = filesizeformat(settings.MAX_UPLOAD_BYTES).replace("\xa0", " ")
        raise UserError(
            "file_too_large",
            f"This file is larger than {limit}, the most this site takes. Split it, or upload it compressed (.gz).",
            field="file",
            status=413,
        )


def clean_name(name: str) -> str:
    """The last part of a file's name without control and direction characters; ``upload`` when nothing is left."""
    last = PurePosixPath(name.replace("\\", "/")).name
    kept = "".join(c for c in last if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
    kept = " ".join(kept.split())
    if len(kept) > NAME_LENGTH:
        stem, dot, ending = kept.rpartition(".")
        kept = f"{stem[: NAME_LENGTH - 12]}.{ending[:10]}" if dot else kept[:NAME_LENGTH]
    return kept if kept.strip(". ") else "upload"


def file_digest(file: File[Any]) -> tuple[str, int]:
    """The file's SHA-256 as hex, and its true size in bytes. The file is at its start afterwards."""
    digest, size = hashlib.sha256(), 0
    for chunk in file.chunks():
        data = chunk.encode() if isinstance(chunk, str) else chunk
        digest.update(data)
        size += len(data)
    file.seek(0)
    return digest.hexdigest(), size
