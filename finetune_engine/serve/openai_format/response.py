"""Writing responses: whole answers, chunks of a stream, and errors."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.confidence import confidence_of
from finetune_engine.serve.exchange import CompletionRequest, Delta, FinishReason, Served, Token, Usage

EXTENSION = "tunesmith"
"""The field beside OpenAI's own that carries what the site keeps: confidence, latency, digest."""

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
    """One finished answer among ``n``."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish_reason: FinishReason | None = None


@dataclass
class Reply:
    """Everything a backend said to one request."""

    choices: list[Choice]
    usage: Usage | None = None
    served: Served | None = None

    def add(self, delta: Delta) -> None:
        """Take in the next piece."""
        if delta.usage is not None:
            self.usage, self.served = delta.usage, delta.served
            return
        choice = self.choices[delta.index]
        choice.text += delta.text
        choice.tokens.extend(delta.tokens)
        choice.finish_reason = delta.finish_reason or choice.finish_reason


def gather(request: CompletionRequest, deltas: Iterable[Delta]) -> Reply:
    """All pieces of an answer put together."""
    reply = Reply([Choice() for _ in range(request.n)])
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
            entry["message"] = {"role": "assistant", "content": choice.text, "refusal": None}
        else:
            entry["text"] = choice.text
        entry["logprobs"] = _logprobs(request, choice.tokens, offset=0)
        choices.append(entry)
    body = _envelope(request, name, "chat.completion" if request.is_chat else "text_completion", choices)
    body["usage"] = (reply.usage or Usage(0, 0)).as_dict()
    body[EXTENSION] = extension
    return body


class ChunkWriter:
    """Turns the deltas of one request into chunk bodies: ``opening``, ``write`` for each delta, ``closing``.

    The extension travels on the last chunk of all. Where no usage was asked for, that is the chunk with the
    finish reason, held back for it: a chunk without choices would trip clients that did not ask for one.
    """

    def __init__(self, request: CompletionRequest, name: ReplyId) -> None:
        self._request = request
        self._name = name
        self._offsets: dict[int, int] = {}
        self._held: dict[str, Any] | None = None

    def opening(self) -> Iterator[dict[str, Any]]:
        """The chunks that name the speaker, one per choice (none for plain completions)."""
        if self._request.is_chat:
            for index in range(self._request.n):
                delta = {"role": "assistant", "content": "", "refusal": None}
                yield self._body([{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}])

    def write(self, delta: Delta) -> Iterator[dict[str, Any]]:
        """The chunks to send now that ``delta`` (a piece of a choice) has come."""
        yield from self._release()
        body = self._chunk(delta)
        if delta.finish_reason is None:
            yield body
        else:
            self._held = body

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
            entry["delta"] = {"content": delta.text} if delta.text or delta.tokens else {}
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
        tops.append({other.token: _finite(other.logprob) for other in token.alternatives})
        offsets.append(offset)
        offset += len(token.text)
    return {"tokens": texts, "token_logprobs": values, "top_logprobs": tops, "text_offset": offsets}


def _finite(logprob: float) -> float:
    return logprob if math.isfinite(logprob) else _LOWEST
