"""Downloads of any size with little memory, under WSGI and ASGI alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import PurePosixPath

from asgiref.sync import sync_to_async
from django.core.files.storage import default_storage
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.http import content_disposition_header

BLOCK = 1 << 20


def attachment(request: HttpRequest, parts: Iterator[bytes], *, name: str, content_type: str) -> StreamingHttpResponse:
    """``parts`` as a download called ``name``. Browsers never show it, whatever it holds."""
    # Under ASGI Django would collect a plain iterator as a whole before the first byte is sent.
    content = _one_by_one(parts) if isinstance(request, ASGIRequest) else parts
    response = StreamingHttpResponse(content, content_type=content_type)
    response["Content-Disposition"] = str(content_disposition_header(True, PurePosixPath(name).name))
    response["X-Content-Type-Options"] = "nosniff"
    return response


def stored_parts(storage_name: str) -> Iterator[bytes]:
    """A stored file, block by block."""
    with default_storage.open(storage_name, "rb") as file:
        while block := file.read(BLOCK):
            yield block


async def _one_by_one(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    following = sync_to_async(lambda: next(parts, None))
    while (part := await following()) is not None:
        yield part
