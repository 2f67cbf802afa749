"""What stands in a request's body: a simple question, OpenAI's chat or completion, texts to embed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from finetune_engine.errors import UserError
from finetune_engine.serve.exchange import CompletionRequest
from finetune_engine.serve.openai_format import parse_chat_request, parse_completion_request
from serving_app.choices import PRODUCTION, Door

PREDICT_MAX_TOKENS = 100
PREDICT_TEMPERATURE = 0.7
LONGEST_TASK = 100
_PREDICT_FIELDS = ("text", "max_tokens", "temperature", "model", "task")
_SANE_ID = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A body that was understood. ``temperature`` is what holds where neither the caller nor the deployment names one (None: what
    OpenAI says)."""

    request: CompletionRequest
    body: dict[str, Any]
    task: str = ""
    end_user: str = ""
    temperature: float | None = None


def read_json(raw: bytes) -> dict[str, Any]:
    """The JSON object in a body. NaN, lone surrogates, bytes that are not UTF-8 and a thousand brackets are not JSON; of a name
    that comes twice the last counts. Raises UserError 400."""
    try:
        values = orjson.loads(raw)
    except ValueError as error:
        raise UserError("invalid_json", f"The request body is not valid JSON: {error}.", status=400) from error
    if not isinstance(values, dict):
        raise UserError("invalid_body", "The request body must be a JSON object.", status=400)
    return values


def read_question(door: str, raw: bytes) -> Asked:
    """What was asked at this door. Raises UserError naming the field at fault."""
    values = read_json(raw)
    if door == Door.PREDICT:
        return _predict(values)
    body = values if values.get("model") else values | {"model": PRODUCTION}
    request = parse_chat_request(body) if door == Door.CHAT else parse_completion_request(body)
    return Asked(request, body, end_user=str(body.get("safety_identifier") or body.get("user") or "")[:128])


def sane_id(text: str) -> str:
    """A caller's own request id, fit for the log; empty when it is not."""
    return text if _SANE_ID.fullmatch(text) else ""


def _predict(values: dict[str, Any]) -> Asked:
    """The chat request that a simple question means, and its ``task``: a word of the caller's own for the log. Training puts no
    word of a task into its prompts, so neither does this."""
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
    if len(values.get("task") or "") > LONGEST_TASK:
        raise UserError("invalid_value", f"'task' has at most {LONGEST_TASK} characters.", field="task")
    body = {
        "model": values.get("model") or PRODUCTION,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": PREDICT_MAX_TOKENS if values.get("max_tokens") is None else values["max_tokens"],
    }
    if values.get("temperature") is not None:
        body["temperature"] = values["temperature"]
    return Asked(parse_chat_request(body), body, task=values.get("task") or "", temperature=PREDICT_TEMPERATURE)
