"""Reading a request body. A parameter that would not be honoured is refused by name, never dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune_engine.serve.exchange import CompletionRequest
from finetune_engine.serve.openai_format.fields import (
    bad,
    check_text,
    check_text_map,
    checked_body,
    flag,
    integer,
    model_name,
    number,
    refuse_unsupported,
    unsupported,
)
from finetune_engine.serve.openai_format.messages import read_messages
from finetune_engine.serve.openai_format.tools import read_answer_schema, read_tools

MAX_CHOICES = 16
MAX_CHOICES_OF_ALL = 64
"""Of all texts of one request together."""
MAX_STOPS = 4
MAX_STOP_CHARACTERS = 1000
MAX_BIASES = 1024
MAX_TOP_LOGPROBS = 20
MAX_TOP_LOGPROBS_COMPLETION = 5
COMPLETION_MAX_TOKENS = 16
"""OpenAI's own default length for ``/v1/completions``."""

# ``user`` and its successors only name the end user for abuse monitoring, ``metadata`` labels what OpenAI would store and a
# cache key is a hint: they never change an answer.
_SHARED = frozenset(
    {"model", "max_tokens", "temperature", "top_p", "n", "stop", "seed", "stream", "stream_options", "logprobs"}
    | {"presence_penalty", "frequency_penalty", "logit_bias", "user"}
)
_CHAT = _SHARED | {
    *("messages", "max_completion_tokens", "top_logprobs", "safety_identifier", "metadata", "prompt_cache_key"),
    *("tools", "tool_choice", "parallel_tool_calls", "response_format"),
}
_COMPLETION = _SHARED | {"prompt", "echo"}

# Parameters that we know and cannot do, with the values that ask for nothing.
_NEUTRAL_CHAT: dict[str, tuple[Any, ...]] = {
    "functions": ([],),
    "function_call": ("none",),
    "modalities": (["text"],),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "prompt_cache_retention": ("in_memory", "in-memory"),
    "audio": (),
    "prediction": (),
    "reasoning_effort": (),
    "verbosity": (),
    "web_search_options": (),
}
_NEUTRAL_COMPLETION: dict[str, tuple[Any, ...]] = {"best_of": (1,), "suffix": ("",)}
_WHY = {
    "functions": "'functions' is not supported: it is the old name of 'tools'.",
    "function_call": "'function_call' is not supported: it is the old name of 'tool_choice'.",
    "modalities": "'modalities' can only be [\"text\"]: the models here write text.",
    "audio": "'audio' is not supported: the models here write text.",
    "store": "'store' is not supported: answers are kept in the project's log, never at the caller's wish.",
    "best_of": "'best_of' can only be 1: ask for several answers with 'n' and choose.",
    "suffix": "'suffix' is not supported: the models here continue a text, they do not fill gaps.",
    "reasoning_effort": "'reasoning_effort' is not supported: a model thinks as long as it was trained to.",
}


def parse_chat_request(body: Any) -> CompletionRequest:
    """The request in a ``/v1/chat/completions`` body (parsed JSON).

    Raises UserError with status 400 and ``field`` set to the parameter at fault.
    """
    values = checked_body(body)
    refuse_unsupported(values, _CHAT, _NEUTRAL_CHAT, _WHY)
    for name in ("safety_identifier", "prompt_cache_key"):
        check_text(values, name)
    check_text_map(values, "metadata")
    wants_logprobs = flag(values, "logprobs")
    top = integer(values, "top_logprobs", 0, MAX_TOP_LOGPROBS)
    if top is not None and not wants_logprobs:
        raise bad("top_logprobs", "'top_logprobs' only has a meaning together with 'logprobs': true.")
    use = read_tools(values)
    return CompletionRequest(
        messages=read_messages(values.get("messages")),
        max_tokens=_chat_limit(values),
        top_logprobs=(top or 0) if wants_logprobs else None,
        tools=use.tools,
        must_call=use.must_call,
        tool_name=use.tool_name,
        parallel_tool_calls=use.parallel_tool_calls,
        answer_schema=read_answer_schema(values.get("response_format")),
        **_shared(values),
    )


def parse_completion_request(body: Any) -> CompletionRequest:
    """The request in a ``/v1/completions`` body (parsed JSON); raises as parse_chat_request does."""
    values = checked_body(body)
    refuse_unsupported(values, _COMPLETION, _NEUTRAL_COMPLETION, _WHY)
    first, *more = _prompts(values.get("prompt"), missing="prompt" not in values)
    limit = integer(values, "max_tokens", 1)
    shared = _shared(values)
    count = shared["n"] * (1 + len(more))
    if count > MAX_CHOICES_OF_ALL:
        raise bad(
            "prompt", f"This asks for {count} answers at once; the most is {MAX_CHOICES_OF_ALL}. Send fewer texts."
        )
    top = integer(values, "logprobs", 0, MAX_TOP_LOGPROBS_COMPLETION)
    echo = flag(values, "echo")
    if echo and top is not None:
        raise unsupported("echo", "'echo' is not supported together with 'logprobs': the prompt's are not computed.")
    return CompletionRequest(
        prompt=first,
        more_prompts=tuple(more),
        max_tokens=COMPLETION_MAX_TOKENS if limit is None else limit,
        top_logprobs=top,
        echo=echo,
        **shared,
    )


def _shared(values: Mapping[str, Any]) -> dict[str, Any]:
    stream = flag(values, "stream")
    check_text(values, "user")
    return {
        "model": model_name(values),
        "temperature": number(values, "temperature", 0.0, 2.0, 1.0),
        "top_p": _top_p(values),
        "n": integer(values, "n", 1, MAX_CHOICES) or 1,
        "stop": _stops(values.get("stop")),
        "seed": integer(values, "seed", -(2**63), 2**63 - 1),
        "presence_penalty": number(values, "presence_penalty", -2.0, 2.0, 0.0),
        "frequency_penalty": number(values, "frequency_penalty", -2.0, 2.0, 0.0),
        "logit_bias": _logit_bias(values.get("logit_bias")),
        "stream": stream,
        "include_usage": _include_usage(values.get("stream_options"), stream),
    }


def _prompts(value: Any, *, missing: bool) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        sentence = "'prompt' must be a text or a list of texts; token numbers are not read."
        raise bad("prompt", sentence, missing=missing)
    return texts


def _top_p(values: Mapping[str, Any]) -> float:
    top_p = number(values, "top_p", 0.0, 1.0, 1.0)
    if top_p == 0.0:
        raise bad("top_p", "'top_p' must be above 0. For the single likeliest answer set 'temperature' to 0.")
    return top_p


def _chat_limit(values: Mapping[str, Any]) -> int | None:
    old, new = integer(values, "max_tokens", 1), integer(values, "max_completion_tokens", 1)
    if old is not None and new is not None and old != new:
        raise bad("max_tokens", "'max_tokens' and 'max_completion_tokens' disagree. Send only one of them.")
    return new if new is not None else old


def _stops(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise bad("stop", "'stop' must be a text or a list of texts, none of them empty.")
    if len(stops) > MAX_STOPS:
        raise bad("stop", f"'stop' takes at most {MAX_STOPS} texts; there are {len(stops)}.")
    if any(len(stop) > MAX_STOP_CHARACTERS for stop in stops):
        raise bad("stop", f"A text of 'stop' has at most {MAX_STOP_CHARACTERS} characters.")
    return tuple(stops)


def _logit_bias(value: Any) -> dict[int, float]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise bad("logit_bias", "'logit_bias' must be an object of token numbers and biases.")
    if len(value) > MAX_BIASES:
        raise bad("logit_bias", f"'logit_bias' takes at most {MAX_BIASES} tokens; there are {len(value)}.")
    bias: dict[int, float] = {}
    for token, amount in value.items():
        if not (str(token).isascii() and str(token).isdecimal() and len(str(token)) < 10):
            raise bad("logit_bias", f"'logit_bias' has the key {str(token)[:40]!r}, which is not a token number.")
        bias[int(token)] = number({"logit_bias": amount}, "logit_bias", -100.0, 100.0, 0.0)
    return bias


def _include_usage(options: Any, stream: bool) -> bool:
    if options is None:
        return False
    if not isinstance(options, Mapping):
        raise bad("stream_options", "'stream_options' must be an object.")
    if not stream:
        raise bad("stream_options", "'stream_options' only has a meaning together with 'stream': true.")
    for name, value in options.items():
        # Obfuscation pads chunks against eavesdroppers who count bytes; asking for none is what happens anyway.
        if name != "include_usage" and not (name == "include_obfuscation" and value in (None, False)):
            place = f"stream_options.{name}"
            raise unsupported(place, f"'{place}' is not supported. Leave it out and send again.")
    return flag(options, "include_usage")
