"""Reading a request body. A parameter that would not be honoured is refused by name, never dropped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from finetune_engine.errors import UserError
from finetune_engine.serve.exchange import CompletionRequest, Message

MAX_CHOICES = 16
MAX_STOPS = 4
MAX_TOP_LOGPROBS = 20
MAX_TOP_LOGPROBS_COMPLETION = 5
COMPLETION_MAX_TOKENS = 16
"""OpenAI's own default length for ``/v1/completions``."""

# ``user`` and its successors only name the end user for abuse monitoring: they never change an answer.
_SHARED = frozenset(
    {"model", "max_tokens", "temperature", "top_p", "n", "stop", "seed", "stream", "stream_options", "logprobs"}
    | {"presence_penalty", "frequency_penalty", "logit_bias", "user"}
)
_CHAT = _SHARED | {"messages", "max_completion_tokens", "top_logprobs", "safety_identifier"}
_COMPLETION = _SHARED | {"prompt"}

# Parameters that we know and cannot do, with the values that ask for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("none",),
    "functions": ([],),
    "function_call": ("none",),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "metadata": ({},),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
}
_CHAT_KNOWN = frozenset(
    {"tools", "tool_choice", "functions", "function_call", "response_format", "modalities", "metadata", "store"}
    | {"service_tier", "parallel_tool_calls", "audio", "prediction", "reasoning_effort", "verbosity"}
    | {"web_search_options", "prompt_cache_key", "prompt_cache_retention"}
)
_COMPLETION_KNOWN = frozenset({"best_of", "echo", "suffix"})
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def parse_chat_request(body: Any) -> CompletionRequest:
    """The request in a ``/v1/chat/completions`` body (parsed JSON).

    Raises UserError with status 400 and ``field`` set to the parameter at fault.
    """
    values = _object(body)
    _refuse_unsupported(values, _CHAT, _CHAT_KNOWN)
    wants_logprobs = _flag(values, "logprobs")
    top = _integer(values, "top_logprobs", 0, MAX_TOP_LOGPROBS)
    if top is not None and not wants_logprobs:
        raise _bad("top_logprobs", "'top_logprobs' only has a meaning together with 'logprobs': true.")
    return CompletionRequest(
        messages=_messages(values.get("messages")),
        max_tokens=_chat_limit(values),
        top_logprobs=(top or 0) if wants_logprobs else None,
        **_shared(values),
    )


def parse_completion_request(body: Any) -> CompletionRequest:
    """The request in a ``/v1/completions`` body (parsed JSON); raises as parse_chat_request does."""
    values = _object(body)
    _refuse_unsupported(values, _COMPLETION, _COMPLETION_KNOWN)
    prompt = values.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise _bad("prompt", "'prompt' must be one text. Send one request per text; token numbers are not read.")
    limit = _integer(values, "max_tokens", 1)
    return CompletionRequest(
        prompt=prompt,
        max_tokens=COMPLETION_MAX_TOKENS if limit is None else limit,
        top_logprobs=_integer(values, "logprobs", 0, MAX_TOP_LOGPROBS_COMPLETION),
        **_shared(values),
    )


def _object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise UserError("invalid_body", "The request body must be a JSON object.", status=400)
    return body


def _shared(values: Mapping[str, Any]) -> dict[str, Any]:
    model = values.get("model")
    if not isinstance(model, str) or not model:
        raise _bad("model", "'model' must name the model that should answer.", missing="model" not in values)
    stream = _flag(values, "stream")
    return {
        "model": model,
        "temperature": _number(values, "temperature", 0.0, 2.0, 1.0),
        "top_p": _top_p(values),
        "n": _integer(values, "n", 1, MAX_CHOICES) or 1,
        "stop": _stops(values.get("stop")),
        "seed": _integer(values, "seed", -(2**63), 2**63 - 1),
        "presence_penalty": _number(values, "presence_penalty", -2.0, 2.0, 0.0),
        "frequency_penalty": _number(values, "frequency_penalty", -2.0, 2.0, 0.0),
        "logit_bias": _logit_bias(values.get("logit_bias")),
        "stream": stream,
        "include_usage": _include_usage(values.get("stream_options"), stream),
    }


def _bad(field: str, sentence: str, *, missing: bool = False) -> UserError:
    code = "missing_required_parameter" if missing else "invalid_value"
    return UserError(code, sentence, field, reason="bad_config", status=400)


def _refuse_unsupported(values: Mapping[str, Any], understood: frozenset[str], known: frozenset[str]) -> None:
    for name, value in values.items():
        if name in understood or (name in known and (value is None or value in _NEUTRAL.get(name, ()))):
            continue
        if name in known:
            sentence = f"This model server does not support '{name}' with this value. Leave it out and send again."
            raise UserError("unsupported_parameter", sentence, name, reason="bad_config", status=400)
        sentence = f"Unknown parameter '{name}'. Check its spelling or leave it out."
        raise UserError("unknown_parameter", sentence, name, reason="bad_config", status=400)


def _flag(values: Mapping[str, Any], name: str) -> bool:
    value = values.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _bad(name, f"'{name}' must be true or false.")
    return value


def _integer(values: Mapping[str, Any], name: str, low: int, high: int | None = None) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise _bad(name, f"'{name}' must be a whole number {span}.")
    return value


def _number(values: Mapping[str, Any], name: str, low: float, high: float, default: float) -> float:
    value = values.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bad(name, f"'{name}' must be a number.")
    if not low <= value <= high:
        raise _bad(name, f"'{name}' must lie between {low:g} and {high:g}; it is {value:g}.")
    return float(value)


def _top_p(values: Mapping[str, Any]) -> float:
    top_p = _number(values, "top_p", 0.0, 1.0, 1.0)
    if top_p == 0.0:
        raise _bad("top_p", "'top_p' must be above 0. For the single likeliest answer set 'temperature' to 0.")
    return top_p


def _chat_limit(values: Mapping[str, Any]) -> int | None:
    old, new = _integer(values, "max_tokens", 1), _integer(values, "max_completion_tokens", 1)
    if old is not None and new is not None and old != new:
        raise _bad("max_tokens", "'max_tokens' and 'max_completion_tokens' disagree. Send only one of them.")
    return new if new is not None else old


def _stops(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise _bad("stop", "'stop' must be a text or a list of texts, none of them empty.")
    if len(stops) > MAX_STOPS:
        raise _bad("stop", f"'stop' takes at most {MAX_STOPS} texts; there are {len(stops)}.")
    return tuple(stops)


def _logit_bias(value: Any) -> dict[int, float]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _bad("logit_bias", "'logit_bias' must be an object of token numbers and biases.")
    bias: dict[int, float] = {}
    for token, amount in value.items():
        if not str(token).isdecimal():
            raise _bad("logit_bias", f"'logit_bias' has the key {token!r}, which is not a token number.")
        bias[int(token)] = _number({"logit_bias": amount}, "logit_bias", -100.0, 100.0, 0.0)
    return bias


def _include_usage(options: Any, stream: bool) -> bool:
    if options is None:
        return False
    if not isinstance(options, Mapping):
        raise _bad("stream_options", "'stream_options' must be an object.")
    if not stream:
        raise _bad("stream_options", "'stream_options' only has a meaning together with 'stream': true.")
    for name, value in options.items():
        # Obfuscation pads chunks against eavesdroppers who count bytes; asking for none is what happens anyway.
        if name != "include_usage" and not (name == "include_obfuscation" and value in (None, False)):
            raise UserError(
                "unsupported_parameter",
                f"'stream_options.{name}' is not supported. Leave it out and send again.",
                f"stream_options.{name}",
                reason="bad_config",
                status=400,
            )
    return _flag(options, "include_usage")


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise _bad("messages", "'messages' must be a list with at least one message.", missing=value is None)
    return tuple(_message(item, f"messages[{position}]") for position, item in enumerate(value))


def _message(item: Any, place: str) -> Message:
    if not isinstance(item, Mapping):
        raise _bad(place, f"'{place}' must be an object with 'role' and 'content'.")
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise _bad(f"{place}.role", f"'{place}.role' must be system, user or assistant; it is {role!r}.")
    for name, extra in item.items():
        # A reply of the SDK sent back as it came carries its empty fields along.
        if name not in ("role", "content") and extra not in (None, [], {}):
            raise UserError(
                "unsupported_parameter",
                f"'{place}.{name}' is not supported: a message here is a role and a text.",
                f"{place}.{name}",
                reason="bad_config",
                status=400,
            )
    return Message(role=_ROLES[role], content=_content(item.get("content"), f"{place}.content"))


def _content(value: Any, place: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise _bad(place, f"'{place}' must be a text.")
    texts = []
    for position, part in enumerate(value):
        is_text = isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)
        if not is_text:
            where = f"{place}[{position}]"
            raise _bad(where, f"'{where}' must be a text part; pictures, sound and files are not read here.")
        texts.append(part["text"])
    return "".join(texts)
