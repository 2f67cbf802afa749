"""Texts as vectors: OpenAI's ``/v1/embeddings``, answered by a replica's embedder or by a served model's hidden states."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from finetune_engine.errors import UserError
from finetune_engine.serve.openai_format import embedding_body, parse_embedding_request
from serving_app import metrics
from serving_app.choices import Door
from serving_app.gateway.admission import admission
from serving_app.gateway.database import prediction_log
from serving_app.gateway.entrance import Caller, route_for
from serving_app.gateway.entries import Entry, Refusal
from serving_app.gateway.forward import asked
from serving_app.gateway.questions import read_json
from serving_app.gateway.telling import status_of

EMBEDDER = "embedder"
"""The name callers use for the small model that is there for nothing else."""
EMBEDDER_SERVING_ID = "embed:minilm"


async def embed(caller: Caller, raw: bytes, request_id: str) -> dict[str, Any]:
    """The answer to an embeddings call, in OpenAI's shape; logged without its texts' vectors. Raises UserError."""
    began, at = time.perf_counter(), datetime.now(UTC)
    try:
        body = read_json(raw)
        wanted = parse_embedding_request(body if body.get("model") else body | {"model": EMBEDDER})
        serving_id, name = await _embedder(caller, wanted.model)
    except UserError:
        prediction_log.put(Refusal(caller.actor.project.pk, caller.key_id, "", at))
        raise
    entry = Entry(
        request_id=request_id, project_id=caller.actor.project.pk, door=Door.EMBEDDINGS, model_name=name, at=at,
        latency_seconds=0.0, input={"texts": wanted.inputs}, question_text=wanted.inputs[-1],
        question_length=len(wanted.inputs[-1]), api_key_id=caller.key_id, settles_tokens=caller.limits.counts_tokens,
    )  # fmt: skip
    try:
        with admission.place(caller.actor.project.pk):
            async with asked("/v1/embeddings", {"model": serving_id, "input": wanted.inputs}, serving_id) as response:
                entry.served_by = response.address
                body = await response.whole_body()
        entry.prompt_tokens = (body.get("usage") or {}).get("prompt_tokens")
    except BaseException as error:
        entry.status, entry.error = status_of(error)
        raise
    finally:
        entry.latency_seconds = time.perf_counter() - began
        metrics.count_answer(name, entry.status, entry.latency_seconds, prompt_tokens=entry.prompt_tokens)
        prediction_log.put(entry)
    vectors = [item["embedding"] for item in sorted(body["data"], key=lambda item: item["index"])]
    return embedding_body(replace(wanted, model=name), vectors, entry.prompt_tokens or 0)


async def _embedder(caller: Caller, requested: str) -> tuple[str, str]:
    """``(serving id, name)`` of what embeds: the embedder, or the hidden states of a model that the project may ask."""
    if requested == EMBEDDER:
        return EMBEDDER_SERVING_ID, EMBEDDER
    model = (await route_for(caller.actor.project, requested)).main
    return f"hidden:{model.serving_id}", model.name
