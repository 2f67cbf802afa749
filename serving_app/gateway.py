"""The hot path: ``/predict`` and OpenAI's two completion calls, as a small ASGI application mounted before Django.

It shares keys, scopes, limits and errors with the rest; each endpoint carries its access rule for the route walk.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from logging import getLogger
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from accounts_app.choices import Act
from accounts_app.permissions import Actor, actor_from_key
from accounts_app.views.access import AccessRule
from finetune_engine.errors import UserError
from finetune_engine.serve.exchange import CompletionRequest
from finetune_engine.serve.openai_format import error_of, parse_chat_request, parse_completion_request
from finetune_engine.serve.openai_format.response import EXTENSION
from serving_app.answering import Question, answer, answer_in_pieces
from serving_app.choices import PRODUCTION, Door
from serving_app.database import ask_database
from serving_app.queries import ServedModel, served_model
from web_kit.errors import error_body, is_openai_path

MAX_BODY_BYTES = 4 * 2**20
PREDICT_MAX_TOKENS = 100
PREDICT_TEMPERATURE = 0.7
_PREDICT_FIELDS = ("text", "max_tokens", "temperature", "model", "task")
RULE = AccessRule("key", {"POST": Act.PREDICT})

Parse = Callable[[Any], CompletionRequest]
Shape = Callable[[Any], tuple[dict[str, Any], str]]
Endpoint = Callable[[Request], Awaitable[Response]]
logger = getLogger(__name__)


def _guarded(endpoint: Endpoint) -> Endpoint:
    endpoint.access_rule = RULE  # type: ignore[attr-defined]
    return endpoint


@_guarded
async def predict(request: Request) -> Response:
    """``{text, max_tokens, temperature, model, task}`` -> ``{prediction, model, confidence, latency, cached, request_id}``."""
    question = await _question(request, Door.PREDICT, _predict_body, parse_chat_request)
    body = await _unless_they_leave(request, answer(question))
    extension = body[EXTENSION]
    return JSONResponse(
        {
            "prediction": body["choices"][0]["message"]["content"],
            "model": body["model"],
            "confidence": extension.get("confidence"),
            "latency": extension["latency_seconds"],
            "cached": extension["cached"],
            "request_id": question.request_id,
        },
        headers=_headers(question),
    )


@_guarded
async def chat_completions(request: Request) -> Response:
    """OpenAI's ``/v1/chat/completions``."""
    return await _openai(request, Door.CHAT, parse_chat_request)


@_guarded
async def completions(request: Request) -> Response:
    """OpenAI's ``/v1/completions``."""
    return await _openai(request, Door.COMPLETIONS, parse_completion_request)


async def _openai(request: Request, door: str, parse: Parse) -> Response:
    question = await _question(request, door, _openai_body, parse)
    if question.request.stream:
        pieces = await answer_in_pieces(question)
        return StreamingResponse(event_stream(pieces), media_type="text/event-stream", headers=_headers(question))
    body = await _unless_they_leave(request, answer(question))
    return JSONResponse(body, headers=_headers(question))


async def event_stream(pieces: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    """Chunks as server-sent events, ended by ``[DONE]``. An error in the middle is sent as an event of its own."""
    try:
        async for piece in pieces:
            yield f"data: {json.dumps(piece, ensure_ascii=False, separators=(',', ':'))}\n\n"
    except UserError as error:
        yield f"data: {json.dumps(error_of(error)[1], ensure_ascii=False)}\n\n"
    yield "data: [DONE]\n\n"


async def _question(request: Request, door: str, shape: Shape, parse: Parse) -> Question:
    """Read, check and resolve. Who asks is checked before what they ask, so that a stranger learns nothing."""
    mistake: UserError | None = None
    body: dict[str, Any] = {}
    label = ""
    parsed: CompletionRequest | None = None
    raw = await _bounded_body(request)
    try:
        body, label = shape(_json(raw))
        parsed = parse(body)
    except UserError as error:
        mistake = error
    actor, model = await ask_database(_enter, request.headers.get("authorization"), parsed, mistake)
    assert parsed is not None
    return Question(actor, door, parsed, body | {"model": model.serving_id}, model, label=label)


def _enter(
    authorization: str | None, parsed: CompletionRequest | None, mistake: UserError | None
) -> tuple[Actor, ServedModel]:
    actor = actor_from_key(authorization, Act.PREDICT)
    if mistake is not None or parsed is None:
        raise mistake or UserError("invalid_body", "The request cannot be read.")
    return actor, served_model(actor.project, parsed.model)


async def _bounded_body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise UserError(
                "body_too_large", f"The request body has more than {MAX_BODY_BYTES // 2**20} MB. Send less.", status=413
            )
        parts.append(part)
    return b"".join(parts)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UserError("invalid_json", "The request body is not valid JSON.", status=400) from error


def _openai_body(values: Any) -> tuple[dict[str, Any], str]:
    if not isinstance(values, dict):
        raise UserError("invalid_body", "The request body must be a JSON object.", status=400)
    return (values if values.get("model") else values | {"model": PRODUCTION}), ""


def _predict_body(values: Any) -> tuple[dict[str, Any], str]:
    """The chat request that a simple question means, and its ``task``: a word of the caller's own for the log."""
    if not isinstance(values, dict):
        raise UserError("invalid_body", "The request body must be a JSON object with the field 'text'.")
    for name in values:
        if name not in _PREDICT_FIELDS:
            raise UserError(
                "unknown_field", f"Unknown field {name!r}. Known: {', '.join(_PREDICT_FIELDS)}.", field=name
            )
    text = values.get("text")
    if not isinstance(text, str) or not text.strip():
        raise UserError("text_missing", "'text' must be a text that is not empty.", field="text")
    for name in ("model", "task"):
        if values.get(name) is not None and not isinstance(values[name], str):
            raise UserError("invalid_value", f"'{name}' must be a text.", field=name)
    given = {
        name: value for name, value in values.items() if value is not None and name in ("max_tokens", "temperature")
    }
    body = {
        "model": values.get("model") or PRODUCTION,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": PREDICT_MAX_TOKENS,
        "temperature": PREDICT_TEMPERATURE,
    }
    return body | given, (values.get("task") or "")[:100]


async def _unless_they_leave(request: Request, work: Any) -> dict[str, Any]:
    """The result of ``work``, cancelled as soon as the caller hangs up."""
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
        body: dict[str, Any] = await task
        return body
    finally:
        leaving.cancel()
        if not task.done():
            task.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _headers(question: Question) -> dict[str, str]:
    return {"X-Request-Id": question.request_id, "Cache-Control": "no-store"}


async def _on_user_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, UserError)
    headers = {"Cache-Control": "no-store"}
    retry_after = getattr(error, "retry_after", 3 if error.status == 503 else None)
    if retry_after is not None:
        headers["Retry-After"] = str(math.ceil(retry_after))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    status = error.status
    if status in (400, 422):
        status = 400 if is_openai_path(request.url.path) else 422
    body = error_body(status, error.sentence, code=error.code, param=error.field, place=error.place.as_dict())
    return JSONResponse(body, status, headers=headers)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = f"{request.method} is not possible here; use POST." if error.status_code == 405 else str(error.detail)
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    return JSONResponse(error_body(error.status_code, sentence, code=code), error.status_code, headers=error.headers)


async def _on_failure(request: Request, error: Exception) -> Response:
    logger.exception("answering %s failed", request.url.path, exc_info=error)
    return JSONResponse(error_of(error)[1], 500)


ROUTES = [
    Route("/predict", predict, methods=["POST"]),
    Route("/v1/chat/completions", chat_completions, methods=["POST"]),
    Route("/v1/completions", completions, methods=["POST"]),
]
"""What ``asgi.py`` mounts before Django; ``route.endpoint.access_rule`` says who may call each."""

PATHS = frozenset(route.path for route in ROUTES)

app = Starlette(
    routes=ROUTES,
    exception_handlers={UserError: _on_user_error, HTTPException: _on_http_error, Exception: _on_failure},
)
