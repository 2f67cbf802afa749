"""The web process: the hot inference routes first, Django for everything else."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import warnings
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finetune_site.settings")

# WhiteNoise hands static files over as synchronous iterators. They are small, and browsers keep them.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

django_application = get_asgi_application()

from django.conf import settings

from serving_app.gateway.database import prediction_log
from serving_app.gateway.routes import PATHS
from serving_app.gateway.routes import app as gateway
from web_kit.errors import error_body
from web_kit.long_streams import StreamsAfterRequests

# The threads beside the event loop (the log, looks into the database) hand the interpreter back after a millisecond.
sys.setswitchinterval(0.001)

pages = StreamsAfterRequests(django_application)  # type: ignore[arg-type]

FORM_BYTES = 2**20  # the rest of a form around the file


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Route one connection. A body that says it is too large is refused before it is read."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    if scope["type"] == "http" and scope["path"] in PATHS:
        await gateway(scope, receive, send)
    elif scope["type"] == "http" and _announced_bytes(scope) > settings.MAX_UPLOAD_BYTES + FORM_BYTES:
        await _refuse_too_large(send)
    else:
        await pages(scope, receive, send)


async def _live(receive: Any, send: Any) -> None:
    """From the server's start to its end. What was answered last is written down before the process goes."""
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await asyncio.to_thread(prediction_log.flush)
    await send({"type": "lifespan.shutdown.complete"})


def _announced_bytes(scope: dict[str, Any]) -> int:
    text = dict(scope["headers"]).get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0


async def _refuse_too_large(send: Any) -> None:
    limit = settings.MAX_UPLOAD_BYTES / 2**20
    sentence = f"The file is larger than this site accepts ({limit:,.0f} MB). Split it, or ask the operator to raise the limit."
    body = json.dumps(error_body(413, sentence, code="too_large")).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
