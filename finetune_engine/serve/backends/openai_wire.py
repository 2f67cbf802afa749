"""OpenAI's JSON from the asking side: bodies of requests, and what answers and the chunks of a stream come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from finetune_engine.serve.exchange import (
    Alternative,
    CompletionRequest,
    Delta,
    FinishReason,
    Token,
    Usage,
)
from finetune_engine.serve.openai_format.response import piece_of

_FINISHES: dict[str, FinishReason] = {"stop": "stop", "length": "length", "tool_calls": "tool_calls"}


def request_body(
    request: CompletionRequest, model: str, *, logprobs: bool = True, limit_name: str = "max_tokens"
) -> dict[str, Any]:
    """The body to send. Without ``logprobs`` none are asked for; ``limit_name`` is what the server calls the longest answer."""
    body: dict[str, Any] = {"model": model, "temperature": request.temperature, "top_p": request.top_p, "n": request.n}
    if request.is_chat:
        body |= {"messages": request.message_dicts()} | _tool_fields(request)
    else:
        body["prompt"] = list(request.prompts) if request.more_prompts else request.prompt
    if request.max_tokens is not None:
        body[limit_name] = request.max_tokens
    optional = {
        "stop": list(request.stop),
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "logit_bias": {str(token): bias for token, bias in request.logit_bias.items()},
    }
    body |= {name: value for name, value in optional.items() if value}
    if request.seed is not None:
        body["seed"] = request.seed
    if logprobs:
        body |= _logprob_fields(request)
    if request.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def _logprob_fields(request: CompletionRequest) -> dict[str, Any]:
    count = request.top_logprobs or 0
    if not request.is_chat:
        return {"logprobs": count}
    return {"logprobs": True} | ({"top_logprobs": count} if count else {})


def _tool_fields(request: CompletionRequest) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if request.tools:
        fields["tools"] = [_tool(tool.as_dict(), strict=tool.strict) for tool in request.tools]
        if request.must_call:
            named = {"type": "function", "function": {"name": request.tool_name}}
            fields["tool_choice"] = named if request.tool_name else "required"
        if not request.parallel_tool_calls:
            fields["parallel_tool_calls"] = False
    if request.answer_schema is not None:
        schema = {"name": request.answer_schema.name or "answer", "schema": dict(request.answer_schema.schema)}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema | {"strict": True}}
    return fields


def _tool(tool: dict[str, Any], *, strict: bool) -> dict[str, Any]:
    return tool | {"function": tool["function"] | {"strict": True}} if strict else tool


def deltas_of(body: Mapping[str, Any], request: CompletionRequest) -> Iterator[Delta]:
    """The pieces in a whole answer or in a chunk. Raises ValueError, KeyError, TypeError when it is neither."""
    for entry in body.get("choices") or ():
        index = entry.get("index") or 0
        if not 0 <= index < request.choice_count:
            raise ValueError(f"choice {index} was not asked for")
        said = entry.get("message") or entry.get("delta") or entry
        delta = Delta(
            index,
            text=str(said.get("content") or said.get("text") or ""),
            tokens=tokens_of(entry.get("logprobs")),
            finish_reason=_finish(entry.get("finish_reason")),
            reasoning=str(said.get("reasoning_content") or said.get("reasoning") or ""),
            tool_calls=tuple(piece_of(number, call) for number, call in enumerate(said.get("tool_calls") or ())),
        )
        if delta != Delta(index):
            yield delta


def usage_of(body: Mapping[str, Any]) -> Usage | None:
    """What the answer says of its tokens; None when it says nothing."""
    usage = body.get("usage")
    if not isinstance(usage, Mapping):
        return None
    return Usage(int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))


def tokens_of(logprobs: Any) -> tuple[Token, ...]:
    """The tokens in a choice's ``logprobs``, of a chat or of a plain completion; empty when there are none."""
    if not isinstance(logprobs, Mapping):
        return ()
    content = logprobs.get("content")
    if content is not None:
        return tuple(
            Token(
                str(item["token"]),
                float(item["logprob"]),
                tuple(Alternative(str(one["token"]), float(one["logprob"])) for one in item.get("top_logprobs") or ()),
            )
            for item in content
        )
    texts, values, tops = (logprobs.get(name) or () for name in ("tokens", "token_logprobs", "top_logprobs"))
    found = []
    for number, (text, value) in enumerate(zip(texts, values, strict=False)):
        if value is None:  # the first token of an echoed prompt has no probability
            continue
        top = (tops[number] if number < len(tops) else None) or {}
        rivals = tuple(Alternative(str(name), float(chance)) for name, chance in top.items())
        found.append(Token(str(text), float(value), rivals))
    return tuple(found)


def _finish(reason: Any) -> FinishReason | None:
    """A reason of theirs in ours; what we have no word for (a content filter) is an end like any other."""
    return _FINISHES.get(str(reason), "stop") if reason else None
