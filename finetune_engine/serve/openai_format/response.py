"""Writing responses: whole answers, chunks of a stream, and errors."""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.confidence import confidence_of
from finetune_engine.serve.exchange import (
    CompletionRequest,
    Delta,
    FinishReason,
    Served,
    Token,
    ToolCall,
    ToolCallPiece,
    Usage,
)

EXTENSION = "tunesmith"
"""The field beside OpenAI's own that carries what the site keeps: confidence, latency, digest."""

MAX_CALLS = 128
"""The most calls of one answer that are taken from another server."""

_LOWEST = -9999.0
"""OpenAI's stand-in for minus infinity, which JSON cannot say."""


@dataclass(frozen=True)
class ReplyId:
    """What every chunk of one reply repeats. ``created`` is Unix seconds."""

    id: str
    created: int

    @classmethod
    def new(cls, request: CompletionRequest) -> ReplyId:
        """A fresh id of OpenAI's form."""
        prefix = "chatcmpl-" if request.is_chat else "cmpl-"
        return cls(id=prefix + secrets.token_hex(12), created=int(time.time()))


@dataclass
class Choice:
    """One finished answer among those asked for. ``reasoning`` is what a model that thinks wrote before ``text``."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)

    @property
    def said(self) -> str:
        """The answer in words, for a log: the text, and the calls in JSON."""
        calls = [
            json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False) for call in self.tool_calls
        ]
        return "\n".join([self.text, *calls] if self.text else calls)

    def add_calls(self, pieces: Iterable[ToolCallPiece]) -> None:
        """Take in pieces of tool calls."""
        for piece in pieces:
            while len(self.tool_calls) <= piece.index:
                self.tool_calls.append(ToolCall("", "", ""))
            call = self.tool_calls[piece.index]
            self.tool_calls[piece.index] = ToolCall(
                piece.id or call.id, piece.name or call.name, call.arguments + piece.arguments
            )


@dataclass
class Reply:
    """Everything a backend said to one request."""

    choices: list[Choice]
    usage: Usage | None = None
    served: Served | None = None

    @classmethod
    def to(cls, request: CompletionRequest) -> Reply:
        """Nothing said yet."""
        return cls([Choice() for _ in range(request.choice_count)])

    @property
    def is_plain_text(self) -> bool:
        """Whether the texts are all there is: no thoughts and no calls."""
        return not any(choice.reasoning or choice.tool_calls for choice in self.choices)

    def add(self, delta: Delta) -> None:
        """Take in the next piece."""
        if delta.usage is not None:
            self.usage, self.served = delta.usage, delta.served
            return
        choice = self.choices[delta.index]
        choice.text += delta.text
        choice.reasoning += delta.reasoning
        choice.add_calls(delta.tool_calls)
        choice.tokens.extend(delta.tokens)
        choice.finish_reason = delta.finish_reason or choice.finish_reason

    def take_body(self, body: Mapping[str, Any]) -> None:
        """Take in a whole answer in OpenAI's shape (log-probabilities apart)."""
        for entry in body["choices"]:
            self._take(entry, entry.get("message") or entry)
        self._take_usage(body)

    def take_chunk(self, chunk: Mapping[str, Any]) -> None:
        """Take in a chunk of a stream in OpenAI's shape (log-probabilities apart)."""
        for entry in chunk.get("choices") or ():
            self._take(entry, entry.get("delta") or entry)
        self._take_usage(chunk)

    def _take(self, entry: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        choice = self.choices[entry["index"]]
        choice.text += said.get("content") or said.get("text") or ""
        choice.reasoning += said.get("reasoning_content") or ""
        choice.add_calls(piece_of(number, call) for number, call in enumerate(said.get("tool_calls") or ()))
        choice.finish_reason = entry.get("finish_reason") or choice.finish_reason

    def _take_usage(self, body: Mapping[str, Any]) -> None:
        if usage := body.get("usage"):
            self.usage = Usage(usage["prompt_tokens"], usage["completion_tokens"])


def piece_of(number: int, call: Mapping[str, Any]) -> ToolCallPiece:
    """A call, or a piece of one, in OpenAI's shape; a whole one has no index, its place is its ``number``.

    Raises ValueError for a place that no server gives: as many calls as it says would be made room for.
    """
    function = call.get("function") or {}
    index = call.get("index")
    place = number if index is None else int(index)
    if not 0 <= place < MAX_CALLS:
        raise ValueError(f"there is no tool call {place}")
    arguments = function.get("arguments") or ""
    if not isinstance(arguments, str):  # some servers send the object itself
        arguments = json.dumps(arguments, ensure_ascii=False)
    return ToolCallPiece(place, call.get("id"), function.get("name"), arguments)


def gather(request: CompletionRequest, deltas: Iterable[Delta]) -> Reply:
    """All pieces of an answer put together."""
    reply = Reply.to(request)
    for delta in deltas:
        reply.add(delta)
    return reply


def extension_of(reply: Reply, *, latency_seconds: float, first_token_seconds: float | None) -> dict[str, Any]:
    """The ``tunesmith`` field. Confidence is that of the first choice; null when nothing was emitted."""
    confidence = confidence_of(token.logprob for token in reply.choices[0].tokens)
    return {
        "confidence": confidence and confidence.value,
        "min_probability": confidence and confidence.minimum,
        "latency_seconds": latency_seconds,
        "first_token_seconds": first_token_seconds,
        "model_digest": reply.served and reply.served.model_digest,
        "template_sha256": reply.served and reply.served.template_sha256,
    }


def response_body(request: CompletionRequest, name: ReplyId, reply: Reply, extension: dict[str, Any]) -> dict[str, Any]:
    """A whole answer: ``chat.completion`` or ``text_completion``."""
    choices = []
    for index, choice in enumerate(reply.choices):
        entry: dict[str, Any] = {"index": index, "finish_reason": choice.finish_reason or "stop"}
        if request.is_chat:
            entry["message"] = _message(choice)
        else:
            entry["text"] = _echoed(request, index) + choice.text
        entry["logprobs"] = _logprobs(request, choice.tokens, offset=0)
        choices.append(entry)
    body = _envelope(request, name, "chat.completion" if request.is_chat else "text_completion", choices)
    body["usage"] = (reply.usage or Usage(0, 0)).as_dict()
    body[EXTENSION] = extension
    return body


def _message(choice: Choice) -> dict[str, Any]:
    content = choice.text or (None if choice.tool_calls else "")
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if choice.tool_calls:
        message["tool_calls"] = [call.as_dict() for call in choice.tool_calls]
    return message


def _echoed(request: CompletionRequest, index: int) -> str:
    """The prompt, where choice ``index`` begins with it."""
    return request.prompts[index // request.n] if request.echo else ""


class ChunkWriter:
    """Turns the deltas of one request into chunk bodies: ``opening``, ``write`` for each delta, ``closing``.

    The extension travels on the last chunk of all. Where no usage was asked for, that is the chunk with the
    finish reason, held back for it: a chunk without choices would trip clients that did not ask for one.
    """

    def __init__(self, request: CompletionRequest, name: ReplyId) -> None:
        self._request = request
        self._name = name
        self._offsets: dict[int, int] = {}
        self._ended: set[int] = set()
        self._held: dict[str, Any] | None = None

    def opening(self) -> Iterator[dict[str, Any]]:
        """The chunks that name the speaker, or repeat the prompt where that is asked for; one per choice."""
        for index in range(self._request.choice_count):
            entry: dict[str, Any] = {"index": index, "logprobs": None, "finish_reason": None}
            if self._request.is_chat:
                yield self._body([entry | {"delta": {"role": "assistant", "content": "", "refusal": None}}])
            elif self._request.echo:
                yield self._body([entry | {"text": _echoed(self._request, index)}])

    def write(self, delta: Delta) -> Iterator[dict[str, Any]]:
        """The chunks to send now that ``delta`` (a piece of a choice) has come."""
        says_something = delta.text or delta.tokens or delta.reasoning or delta.tool_calls or delta.finish_reason
        if not says_something or delta.index in self._ended:  # servers elsewhere may say the end twice
            return
        yield from self._release()
        if delta.finish_reason is None:
            yield self._chunk(delta)
            return
        self._ended.add(delta.index)
        if self._request.is_chat and (delta.text or delta.tokens or delta.reasoning or delta.tool_calls):
            # The end comes in a chunk of its own: clients only take a call for complete when they see it.
            yield self._chunk(replace(delta, finish_reason=None))
            delta = Delta(delta.index, finish_reason=delta.finish_reason)
        self._held = self._chunk(delta)

    def closing(self, usage: Usage | None, extension: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The chunks that end the stream; the last of them carries the extension."""
        if self._request.include_usage or self._held is None:
            yield from self._release()
            self._held = self._body([])
            if self._request.include_usage:
                self._held["usage"] = (usage or Usage(0, 0)).as_dict()
        self._held[EXTENSION] = extension
        yield from self._release()

    def _release(self) -> Iterator[dict[str, Any]]:
        held, self._held = self._held, None
        if held is not None:
            yield held

    def _chunk(self, delta: Delta) -> dict[str, Any]:
        offset = self._offsets.get(delta.index, 0)
        self._offsets[delta.index] = offset + len(delta.text)
        entry: dict[str, Any] = {"index": delta.index}
        if self._request.is_chat:
            entry["delta"] = _chat_delta(delta)
        else:
            entry["text"] = delta.text
        entry["logprobs"] = _logprobs(self._request, delta.tokens, offset=offset) if delta.tokens else None
        entry["finish_reason"] = delta.finish_reason
        return self._body([entry])

    def _body(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self._request.is_chat else "text_completion"
        body = _envelope(self._request, self._name, kind, choices)
        if self._request.include_usage:
            body["usage"] = None
        return body


def _chat_delta(delta: Delta) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if delta.reasoning:
        out["reasoning_content"] = delta.reasoning
    if delta.text or (delta.tokens and not delta.reasoning and not delta.tool_calls):
        out["content"] = delta.text
    if delta.tool_calls:
        out["tool_calls"] = [_call_piece(piece) for piece in delta.tool_calls]
    return out


def _call_piece(piece: ToolCallPiece) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": piece.arguments}
    if piece.id is None:
        return {"index": piece.index, "function": function}
    return {"index": piece.index, "id": piece.id, "type": "function", "function": {"name": piece.name} | function}


def error_body(message: str, *, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_of(error: Exception) -> tuple[int, dict[str, Any]]:
    """HTTP status and body for an error. What is ours to mend is not spelled out to the caller."""
    if isinstance(error, UserError):
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        status = 400 if error.status == 422 else error.status
        kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
        return status, error_body(error.sentence, kind=kind, param=error.field, code=error.code)
    if isinstance(error, EngineError):
        sentence = "The model cannot answer at the moment. Try again shortly; if it stays so, tell the operator."
        return 503, error_body(sentence, kind="server_error", code=error.reason)
    sentence = "Something went wrong inside the model server. The operator finds the details in its log."
    return 500, error_body(sentence, kind="server_error", code="internal")


def _envelope(request: CompletionRequest, name: ReplyId, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": name.id, "object": kind, "created": name.created, "model": request.model, "choices": choices}


def _logprobs(request: CompletionRequest, tokens: Iterable[Token], *, offset: int) -> dict[str, Any] | None:
    if request.top_logprobs is None:
        return None
    return _chat_logprobs(tokens) if request.is_chat else _text_logprobs(tokens, offset)


def _chat_logprobs(tokens: Iterable[Token]) -> dict[str, Any]:
    content = []
    for token in tokens:
        entry = _chat_token(token.text, token.logprob)
        entry["top_logprobs"] = [_chat_token(other.token, other.logprob) for other in token.alternatives]
        content.append(entry)
    return {"content": content, "refusal": None}


def _chat_token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": _finite(logprob), "bytes": list(text.encode("utf-8", "replace"))}


def _text_logprobs(tokens: Iterable[Token], offset: int) -> dict[str, Any]:
    texts, values, tops, offsets = [], [], [], []
    for token in tokens:
        texts.append(token.text)
        values.append(_finite(token.logprob))
        tops.append(_likeliest_by_text(token))
        offsets.append(offset)
        offset += len(token.text)
    return {"tokens": texts, "token_logprobs": values, "top_logprobs": tops, "text_offset": offsets}


def _likeliest_by_text(token: Token) -> dict[str, float]:
    """Rivals by their text. Pieces of characters all read as the same sign: the likeliest of them is told."""
    found: dict[str, float] = {}
    for other in token.alternatives:
        found.setdefault(other.token, _finite(other.logprob))
    return found


def _finite(logprob: float) -> float:
    return logprob if math.isfinite(logprob) else _LOWEST
