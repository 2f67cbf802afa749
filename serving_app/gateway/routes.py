"""The hot path: ``/predict`` and OpenAI's calls that ask a model, as a small ASGI application mounted before Django.

It shares keys, scopes, limits and errors with the rest; each endpoint carries its access rule for the route walk. With warm
caches a question needs no thread and no database (``entrance``, ``limits``, ``database.PredictionLog``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from logging import getLogger
from typing import Any

from accounts_app.choices import Act
from accounts_app.views.access import AccessRule
from finetune_engine.errors import UserError
from finetune_engine.serve.openai_format import error_of
from finetune_engine.serve.openai_format.response import EXTENSION
from serving_app import metrics
from serving_app.choices import Door
from serving_app.gateway.answering import Question, answer, answer_in_pieces, with_default_temperature
from serving_app.gateway.database import prediction_log
from serving_app.gateway.embedding import embed
from serving_app.gateway.entrance import Caller, caller_of, route_for
from serving_app.gateway.entries import Refusal
from serving_app.gateway.limits import demand_tokens, limit_headers, permits
from serving_app.gateway.questions import read_question, sane_id
from serving_app.gateway.wire import Exchange, Header
from serving_app.routing import chosen_model

RULE = AccessRule("key", {"POST": Act.PREDICT})
Endpoint = Callable[[Exchange, list[Header]], Awaitable[None]]
logger = getLogger(__name__)


def _guarded(endpoint: Endpoint) -> Endpoint:
    endpoint.access_rule = RULE  # type: ignore[attr-defined]
    return endpoint


@_guarded
async def predict(exchange: Exchange, headers: list[Header]) -> None:
    """``{text, max_tokens, temperature, model, task}`` -> ``{prediction, model, confidence, needs_human, latency, cached,
    request_id}``."""
    question = await _question(exchange, Door.PREDICT, headers)
    body = await exchange.unless_they_leave(answer(question))
    extension = body[EXTENSION]
    sure = extension["calibrated_confidence"]
    told = {
        "prediction": body["choices"][0]["message"]["content"],
        "model": body["model"],
        "confidence": extension.get("confidence") if sure is None else sure,
        "needs_human": extension["needs_human"],
        "latency": extension["latency_seconds"],
        "cached": extension["cached"],
        "request_id": question.request_id,
    }
    await exchange.answer(told, _with_duration(headers, question.began))


@_guarded
async def chat_completions(exchange: Exchange, headers: list[Header]) -> None:
    """OpenAI's ``/v1/chat/completions``."""
    await _openai(exchange, Door.CHAT, headers)


@_guarded
async def completions(exchange: Exchange, headers: list[Header]) -> None:
    """OpenAI's ``/v1/completions``."""
    await _openai(exchange, Door.COMPLETIONS, headers)


@_guarded
async def embeddings(exchange: Exchange, headers: list[Header]) -> None:
    """OpenAI's ``/v1/embeddings``."""
    began = time.perf_counter()
    caller, raw = await _enter(exchange, headers)
    body = await exchange.unless_they_leave(embed(caller, raw, exchange.request_id))
    await exchange.answer(body, _with_duration(headers, began))


async def _openai(exchange: Exchange, door: str, headers: list[Header]) -> None:
    question = await _question(exchange, door, headers)
    if question.request.stream:
        await exchange.unless_they_leave(_stream(exchange, question, headers))
        return
    body = await exchange.unless_they_leave(answer(question))
    await exchange.answer(body, _with_duration(headers, question.began))


async def _stream(exchange: Exchange, question: Question, headers: list[Header]) -> None:
    pieces = await answer_in_pieces(question)
    try:
        await exchange.stream(pieces, _with_duration(headers, question.began))
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]  # an asynchronous generator


async def _question(exchange: Exchange, door: str, headers: list[Header]) -> Question:
    """Read, check and resolve. Who asks is checked before what they ask, so that a stranger learns nothing."""
    began = time.perf_counter()
    caller, raw = await _enter(exchange, headers)
    requested = ""
    try:
        asked = read_question(door, raw)
        requested = asked.request.model
        route = await route_for(caller.actor.project, requested)
    except UserError:
        prediction_log.put(Refusal(caller.actor.project.pk, caller.key_id, "", datetime.now(UTC)))
        raise
    model = chosen_model(route, request_id=exchange.request_id, end_user=asked.end_user)
    request, body = with_default_temperature(asked.request, asked.body, model, asked.temperature)
    return Question(
        caller.actor,
        door,
        request,
        body | {"model": model.serving_id},
        model,
        task=asked.task,
        end_user=asked.end_user,
        client_request_id=_client_request_id(exchange),
        settles_tokens=caller.limits.counts_tokens,
        request_id=exchange.request_id,
        began=began,
    )


async def _enter(exchange: Exchange, headers: list[Header]) -> tuple[Caller, bytes]:
    """Who asks, and the body, once the key's limits let them; the limits go into ``headers``."""
    raw = await exchange.body()
    caller = await caller_of(exchange.header(b"authorization"))
    limits = caller.limits
    try:
        if limits.counts_tokens:
            demand_tokens(caller.key_id, limits, caller.used)
        left = None
        if limits.requests_per_minute is not None:
            left = await permits.take(caller.key_id, limits.requests_per_minute)
    except UserError:
        prediction_log.put(Refusal(caller.actor.project.pk, caller.key_id, "", datetime.now(UTC)))
        raise
    headers += limit_headers(limits, caller.used, caller.key_id, left)
    return caller, raw


def _client_request_id(exchange: Exchange) -> str:
    return sane_id(exchange.header(b"x-client-request-id") or exchange.header(b"x-request-id"))


def _with_duration(headers: list[Header], began: float) -> list[Header]:
    headers.append((b"openai-processing-ms", b"%d" % round((time.perf_counter() - began) * 1000)))
    return headers


@dataclass(frozen=True)
class Route:
    """An address and who answers it."""

    path: str
    endpoint: Endpoint


ROUTES = [
    Route("/predict", predict),
    Route("/v1/chat/completions", chat_completions),
    Route("/v1/completions", completions),
    Route("/v1/embeddings", embeddings),
]
"""What ``asgi.py`` mounts before Django; ``route.endpoint.access_rule`` says who may call each."""

_ENDPOINTS = {route.path: route.endpoint for route in ROUTES}
PATHS = frozenset(_ENDPOINTS)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer one request to one of ``PATHS``. Whatever happens to it stays with it."""
    exchange = Exchange(scope, receive, send)
    headers: list[Header] = [(b"x-request-id", exchange.request_id.encode())]
    metrics.IN_FLIGHT.inc()
    try:
        if exchange.method != "POST":
            sentence = f"{exchange.method} is not possible here; use POST."
            headers.append((b"allow", b"POST"))
            raise UserError("method_not_allowed", sentence, status=405)
        await _ENDPOINTS[exchange.path](exchange, headers)
    except UserError as error:
        await exchange.refuse(error, headers)
    except asyncio.CancelledError:
        if not exchange.left:
            raise
    except Exception as error:
        if exchange.has_begun:  # the server closes the connection; so it is with a client that does not read
            raise
        logger.exception("answering %s failed", exchange.path, exc_info=error)
        await exchange.answer(error_of(RuntimeError())[1], headers, 500)
    finally:
        metrics.IN_FLIGHT.dec()
