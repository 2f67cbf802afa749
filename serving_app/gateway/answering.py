"""One question from its arrival to the log: admission, cache, replica, answer, figures.

Used by the gateway and by the playground, so that both give the same answer.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from accounts_app.permissions import Actor
from finetune_engine.serve.exchange import CompletionRequest, Delta
from finetune_engine.serve.openai_format import ChunkWriter, ReplyId, response_body
from finetune_engine.serve.openai_format.response import EXTENSION
from serving_app.caching import Found, keep_answer, kept_answer
from serving_app.gateway.admission import admission
from serving_app.gateway.forward import asked
from serving_app.gateway.telling import Body, Telling
from serving_app.queries import ServedModel
from serving_app.routing import answered
from web_kit.ids import new_id


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Question:
    """A checked request of somebody who may ask. ``body`` is what is sent on; ``task`` a word of the caller's own and
    ``client_request_id`` an id of their own, both logged with it; ``end_user`` whom they ask for. ``shadow_of`` is the id of the
    question that this one copies: it is answered for the log alone. ``settles_tokens``: the key has a limit on tokens."""

    actor: Actor
    door: str
    request: CompletionRequest
    body: Body
    model: ServedModel
    task: str = ""
    end_user: str = ""
    client_request_id: str = ""
    shadow_of: str = ""
    settles_tokens: bool = False
    request_id: str = field(default_factory=new_id)
    at: datetime = field(default_factory=_now)
    began: float = field(default_factory=time.perf_counter)

    @property
    def path(self) -> str:
        """Where a replica takes it."""
        return "/v1/chat/completions" if self.request.is_chat else "/v1/completions"

    @property
    def asked_last(self) -> str:
        """What was asked last, as text."""
        messages = self.request.messages
        return (messages[-1].content or "") if messages else self.request.prompts[-1]

    def elapsed(self) -> float:
        """Seconds since it arrived."""
        return time.perf_counter() - self.began

    def logged_input(self) -> Body:
        """What was asked, as the log keeps it."""
        if self.request.is_chat:
            return {"messages": self.request.message_dicts()}
        prompts = list(self.request.prompts)
        return {"prompt": prompts[0] if len(prompts) == 1 else "\n\n".join(prompts)}

    def logged_params(self) -> Body:
        """The parameters that were not left alone, and the caller's own names for things."""
        params = self.request.parameters()
        del params["prompt"]
        params = {name: value for name, value in params.items() if value or value == 0}  # 0 and False were chosen, too
        for name in ("task", "end_user", "client_request_id"):
            if given := getattr(self, name):
                params[name] = given
        return params


def with_default_temperature(
    request: CompletionRequest, body: Body, model: ServedModel, otherwise: float | None
) -> Any:
    """``(request, body)`` with the temperature of the deployment, else ``otherwise``, where the caller named none."""
    if body.get("temperature") is not None:
        return request, body
    temperature = model.settings.default_temperature
    temperature = otherwise if temperature is None else temperature
    if temperature is None:
        return request, body
    return replace(request, temperature=temperature), body | {"temperature": temperature}


async def answer(question: Question) -> Body:
    """The whole answer in OpenAI's shape, with the ``tunesmith`` field. Raises UserError (429, 503 and what the
    replica says)."""
    telling = Telling.of(question)
    try:
        with _place(question):
            found = await _found(question)
            if found is not None:
                telling.take_found(found)
                body = response_body(question.request, ReplyId.new(question.request), telling.reply, {})
            else:
                async with asked(question.path, question.body, question.model.serving_id) as response:
                    telling.served_by = response.address
                    body = await response.whole_body()
                telling.take_body(body)
    except BaseException as error:
        telling.finish(error)
        raise
    body["model"] = question.model.name
    body[EXTENSION] = telling.ending()
    telling.finish()
    if found is None and not question.shadow_of:
        await _afterwards(question, telling, body)
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
        with _place(question):
            found = await _found(question)
            if found is not None:
                telling.take_found(found)
                for chunk in _told_again(question, telling):
                    yield _named(chunk, question)
            else:
                body = question.body | {"stream": True, "stream_options": {"include_usage": True}}
                async with asked(question.path, body, question.model.serving_id) as response:
                    telling.served_by = response.address
                    async for chunk in _with_ending(question, telling, response.chunks()):
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
        if not question.shadow_of:
            await _afterwards(question, telling, telling.gathered())
        yield held


def _place(question: Question) -> AbstractContextManager[None]:
    """A shadow takes no place from those who wait for an answer."""
    return nullcontext() if question.shadow_of else admission.place(question.actor.project.pk)


async def _found(question: Question) -> Found | None:
    return None if question.shadow_of else await kept_answer(question)


async def _afterwards(question: Question, telling: Telling, body: Body) -> None:
    kept = telling.kept()
    if kept is not None:
        await keep_answer(question, kept)
    answered(question, body)


def _told_again(question: Question, telling: Telling) -> Iterator[Body]:
    writer = ChunkWriter(question.request, ReplyId.new(question.request))
    yield from writer.opening()
    for index, choice in enumerate(telling.reply.choices):
        yield from writer.write(Delta(index=index, text=choice.text))
        yield from writer.write(Delta(index=index, finish_reason=choice.finish_reason))
    yield from writer.closing(telling.reply.usage, telling.ending())


def _named(chunk: Body, question: Question) -> Body:
    if "model" in chunk:
        chunk["model"] = question.model.name
    return chunk
