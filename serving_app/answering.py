"""One question from its arrival to the log: admission, cache, replica, answer, figures.

Used by the gateway and by the playground, so that both give the same answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone

from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from finetune_engine.serve.cache import ExactCache, cache_key, is_cacheable
from finetune_engine.serve.exchange import CompletionRequest, Delta, Usage
from finetune_engine.serve.openai_format import Choice, ChunkWriter, Reply, ReplyId, response_body
from finetune_engine.serve.openai_format.response import EXTENSION
from serving_app import metrics
from serving_app.admission import admission
from serving_app.database import prediction_log
from serving_app.forward import asked, chunks_of, whole_body
from serving_app.models import Prediction
from serving_app.queries import ServedModel
from web_kit.ids import new_id

CALLER_LEFT = 499
Body = dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """What the cache holds of an answer: enough to tell it again, whole or as a stream."""

    choices: tuple[tuple[str, Any], ...]
    usage: Usage
    extension: Body


answers: ExactCache[Kept] = ExactCache()


@dataclass(frozen=True)
class Question:
    """A checked request of somebody who may ask. ``body`` is what is sent on, ``asked`` what is logged as input,
    ``label`` a word of the caller's own that is logged with it."""

    actor: Actor
    door: str
    request: CompletionRequest
    body: Body
    model: ServedModel
    label: str = ""
    request_id: str = field(default_factory=new_id)
    at: datetime = field(default_factory=timezone.now)
    began: float = field(default_factory=time.perf_counter)

    @property
    def path(self) -> str:
        """Where a replica takes it."""
        return "/v1/chat/completions" if self.request.is_chat else "/v1/completions"

    @property
    def cache_key(self) -> str | None:
        """Under which its answer is kept; None when another answer would be as right."""
        parameters = self.request.parameters()
        if not is_cacheable(parameters) or self.request.top_logprobs is not None:
            return None
        return cache_key(
            digest=self.model.identity,
            messages=self.request.message_dicts(),
            template_sha256=None,  # part of the model's files, which the identity covers
            parameters=parameters,
            scope=self.actor.project.pk,
        )

    def elapsed(self) -> float:
        """Seconds since it arrived."""
        return time.perf_counter() - self.began


@dataclass
class Telling:
    """What has been answered so far, for the log, the figures and the cache."""

    question: Question
    texts: list[str]
    finishes: list[Any]
    usage: Usage | None = None
    extension: Body = field(default_factory=dict)
    first_token_seconds: float | None = None
    seconds: float | None = None
    cached: bool = False

    @classmethod
    def of(cls, question: Question) -> Telling:
        """Nothing said yet."""
        count = question.request.n
        return cls(question, [""] * count, [None] * count)

    def take_body(self, body: Body) -> None:
        """A whole answer of a replica."""
        for choice in body["choices"]:
            text = choice["message"]["content"] if self.question.request.is_chat else choice["text"]
            self.texts[choice["index"]], self.finishes[choice["index"]] = text, choice["finish_reason"]
        self._take_ending(body)
        self.first_token_seconds = self.extension.get("first_token_seconds")

    def take_chunk(self, chunk: Body) -> None:
        """One piece of a streamed answer. Raises UserError when the piece says that the replica failed."""
        if "error" in chunk:
            raise UserError("model_failed", str(chunk["error"].get("message", "The model failed.")), status=500)
        for choice in chunk.get("choices", ()):
            text = (choice.get("delta") or {}).get("content") if self.question.request.is_chat else choice.get("text")
            if text and self.first_token_seconds is None:
                self.first_token_seconds = self.question.elapsed()
            self.texts[choice["index"]] += text or ""
            self.finishes[choice["index"]] = choice.get("finish_reason") or self.finishes[choice["index"]]
        self._take_ending(chunk)

    def take_kept(self, kept: Kept) -> None:
        """An answer of the cache."""
        for index, (text, finish) in enumerate(kept.choices):
            self.texts[index], self.finishes[index] = text, finish
        self.usage, self.extension, self.cached = kept.usage, dict(kept.extension), True
        self.extension["first_token_seconds"] = None
        metrics.CACHE_HITS.labels("exact").inc()

    def _take_ending(self, body: Body) -> None:
        if usage := body.get("usage"):
            self.usage = Usage(usage["prompt_tokens"], usage["completion_tokens"])
        if extension := body.get(EXTENSION):
            self.extension = dict(extension)

    def ending(self) -> Body:
        """The extension as the caller gets it, now that the answer is complete."""
        self.seconds = self.question.elapsed()
        return self.extension | {
            "request_id": self.question.request_id,
            "cached": self.cached,
            "latency_seconds": self.seconds,
            "completion_tokens": self.usage.completion_tokens if self.usage else None,
        }

    def finish(self, error: BaseException | None = None) -> None:
        """Log and count it; keep the answer when it may be told again."""
        status, sentence = _status_of(error)
        self.seconds = self.seconds or self.question.elapsed()
        key = self.question.cache_key
        if error is None and key and not self.cached and self.usage:
            answers.put(key, Kept(tuple(zip(self.texts, self.finishes, strict=True)), self.usage, self.extension))
        _count(self, status)
        prediction_log.put(self._row(status, sentence))

    def _row(self, status: int, sentence: str) -> Prediction:
        question, usage = self.question, self.usage
        return Prediction(
            request_id=question.request_id,
            project_id=question.actor.project.pk,
            deployment_id=question.model.deployment_id,
            door=question.door,
            model_name=question.model.name,
            model_digest=str(self.extension.get("model_digest") or "")[:128],
            input=_input_of(question),
            output="\n\n".join(self.texts) if any(self.texts) else "",
            params=_params_of(question),
            latency_seconds=self.seconds or 0.0,
            first_token_seconds=self.first_token_seconds,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            confidence=self.extension.get("confidence"),
            cached=self.cached,
            status=status,
            error=sentence[:300],
            at=question.at,
            api_key_id=question.actor.api_key.pk if question.actor.api_key else None,
            user_id=question.actor.user.pk if question.actor.user else None,
        )


async def answer(question: Question) -> Body:
    """The whole answer in OpenAI's shape, with the ``tunesmith`` field. Raises UserError (429, 503 and what the
    replica says)."""
    telling = Telling.of(question)
    try:
        with admission.place(question.actor.project.pk):
            if (kept := _kept(question)) is not None:
                telling.take_kept(kept)
                body = response_body(question.request, ReplyId.new(question.request), _reply(kept), {})
            else:
                async with asked(question.path, question.body) as response:
                    body = await whole_body(response)
                telling.take_body(body)
    except BaseException as error:
        telling.finish(error)
        raise
    body["model"] = question.model.name
    body[EXTENSION] = telling.ending()
    telling.finish()
    return body


async def answer_in_pieces(question: Question) -> AsyncIterator[Body]:
    """The chunks of the answer, the ``tunesmith`` field on the last. Waits for the first chunk, so that an error
    before it is raised here (as ``answer`` does) and not in the middle of a response."""
    pieces = _pieces(question)
    first = await anext(pieces)

    async def all_pieces() -> AsyncIterator[Body]:
        try:
            yield first
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()

    return all_pieces()


async def _pieces(question: Question) -> Any:
    telling = Telling.of(question)
    try:
        with admission.place(question.actor.project.pk):
            if (kept := _kept(question)) is not None:
                telling.take_kept(kept)
                for chunk in _told_again(question, kept, telling):
                    yield _named(chunk, question)
            else:
                body = question.body | {"stream": True, "stream_options": {"include_usage": True}}
                async with asked(question.path, body) as response:
                    async for chunk in _with_ending(question, telling, chunks_of(response)):
                        yield _named(chunk, question)
    except BaseException as error:
        telling.finish(error)
        raise
    telling.finish()


async def _with_ending(question: Question, telling: Telling, chunks: AsyncIterator[Body]) -> AsyncIterator[Body]:
    """The replica's chunks; where the caller asked for no usage, the chunk without choices that carries it is
    folded into the one before, because it would trip such clients."""
    held: Body | None = None
    async for chunk in chunks:
        telling.take_chunk(chunk)
        if not question.request.include_usage:
            chunk.pop("usage", None)
        if held is not None:
            if chunk.get("choices") or question.request.include_usage:
                yield held
            else:
                chunk = held
        held = chunk
    if held is not None:
        held[EXTENSION] = telling.ending()
        yield held


def _kept(question: Question) -> Kept | None:
    key = question.cache_key
    return answers.get(key) if key else None


def _reply(kept: Kept) -> Reply:
    return Reply([Choice(text=text, finish_reason=finish) for text, finish in kept.choices], usage=kept.usage)


def _told_again(question: Question, kept: Kept, telling: Telling) -> Iterator[Body]:
    writer = ChunkWriter(question.request, ReplyId.new(question.request))
    yield from writer.opening()
    for index, (text, finish) in enumerate(kept.choices):
        yield from writer.write(Delta(index=index, text=text))
        yield from writer.write(Delta(index=index, finish_reason=finish))
    yield from writer.closing(kept.usage, telling.ending())


def _named(chunk: Body, question: Question) -> Body:
    if "model" in chunk:
        chunk["model"] = question.model.name
    return chunk


def _status_of(error: BaseException | None) -> tuple[int, str]:
    if error is None:
        return 200, ""
    if isinstance(error, UserError):
        return error.status, error.sentence
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return CALLER_LEFT, "The caller left before the answer was complete."
    return 500, type(error).__name__


def _count(telling: Telling, status: int) -> None:
    name = telling.question.model.name
    metrics.REQUESTS.labels(name, str(status)).inc()
    metrics.DURATION.labels(name).observe(telling.seconds or 0.0)
    if status >= 500:
        metrics.ERRORS.labels(name).inc()
    if telling.usage and not telling.cached:
        metrics.TOKENS.labels("prompt").inc(telling.usage.prompt_tokens)
        metrics.TOKENS.labels("completion").inc(telling.usage.completion_tokens)
    if telling.first_token_seconds is not None:
        metrics.FIRST_TOKEN.observe(telling.first_token_seconds)


def _input_of(question: Question) -> Body:
    if question.request.is_chat:
        return {"messages": question.request.message_dicts()}
    return {"prompt": question.request.prompt}


def _params_of(question: Question) -> Body:
    params = {name: value for name, value in question.request.parameters().items() if value not in (None, [], {})}
    params.pop("prompt", None)
    return params | ({"task": question.label} if question.label else {})
