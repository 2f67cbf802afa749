"""What has been answered so far to one question, for the caller, the log, the figures and the caches."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetune_engine.errors import UserError
from finetune_engine.serve.openai_format import Reply, ReplyId, response_body
from finetune_engine.serve.openai_format.response import EXTENSION
from serving_app import metrics
from serving_app.caching import Found, Kept
from serving_app.gateway.database import prediction_log
from serving_app.gateway.entries import Entry
from serving_app.sureness import Sureness, sureness_of

if TYPE_CHECKING:
    from serving_app.gateway.answering import Question

CALLER_LEFT = 499
Body = dict[str, Any]


@dataclass(slots=True)
class Telling:
    """Filled by a whole answer, by the chunks of a stream, or by an answer that was kept."""

    question: Question
    reply: Reply
    extension: Body = field(default_factory=dict)
    sureness: Sureness = field(default_factory=Sureness)
    first_token_seconds: float | None = None
    seconds: float | None = None
    pieces: int = 0
    cache_kind: str = ""
    served_by: str = ""

    @classmethod
    def of(cls, question: Question) -> Telling:
        """Nothing said yet."""
        return cls(question, Reply.to(question.request))

    def take_body(self, body: Body) -> None:
        """A whole answer of a replica."""
        self.reply.take_body(body)
        self.extension = dict(body.get(EXTENSION) or {})
        self.first_token_seconds = self.extension.get("first_token_seconds")

    def take_chunk(self, chunk: Body) -> None:
        """One piece of a streamed answer. Raises UserError when the piece says that the replica failed."""
        if "error" in chunk:
            raise UserError("model_failed", str(chunk["error"].get("message", "The model failed.")), status=500)
        self.reply.take_chunk(chunk)
        pieces = sum(map(_says_something, chunk.get("choices") or ()))
        self.pieces += pieces
        if self.first_token_seconds is None and pieces:
            self.first_token_seconds = self.question.elapsed()
        if extension := chunk.get(EXTENSION):
            self.extension = dict(extension)

    def take_found(self, found: Found) -> None:
        """An answer of a cache."""
        for choice, (text, finish) in zip(self.reply.choices, found.kept.choices, strict=True):
            choice.text, choice.finish_reason = text, finish
        self.reply.usage, self.extension = found.kept.usage, dict(found.kept.extension)
        self.extension["first_token_seconds"] = None
        self.cache_kind = found.kind

    @property
    def confidence(self) -> float | None:
        """The model's own, 0..1."""
        return self.extension.get("confidence")

    def ending(self) -> Body:
        """The extension as the caller gets it, now that the answer is complete."""
        self.seconds = self.question.elapsed()
        self.sureness = sureness_of(self.question.model, self.confidence)
        return self.extension | {
            "request_id": self.question.request_id,
            "calibrated_confidence": self.sureness.calibrated,
            "needs_human": self.sureness.needs_human,
            "cached": bool(self.cache_kind),
            "latency_seconds": self.seconds,
            "completion_tokens": self.reply.usage.completion_tokens if self.reply.usage else None,
        }

    def kept(self) -> Kept | None:
        """The answer for the caches; None when it is more than its text, or not complete, or came from one."""
        reply = self.reply
        if self.cache_kind or reply.usage is None or not reply.is_plain_text or self.question.request.echo:
            return None
        choices = tuple((choice.text, choice.finish_reason) for choice in reply.choices)
        return Kept(choices, reply.usage, self.extension)

    def gathered(self) -> Body:
        """A streamed answer as if it had come whole."""
        name = ReplyId.new(self.question.request)
        return response_body(self.question.request, name, self.reply, self.extension)

    @property
    def completion_tokens(self) -> int | None:
        """What was written, in tokens. A stream that was cut off never told: each piece of it was a token at least, and hanging
        up early must not be the way around a limit."""
        usage = self.reply.usage
        return usage.completion_tokens if usage else self.pieces or None

    def finish(self, error: BaseException | None = None) -> None:
        """Log and count it."""
        question, usage = self.question, self.reply.usage
        status, sentence = status_of(error)
        self.seconds = self.seconds or question.elapsed()
        if not question.shadow_of:
            metrics.count_answer(
                question.model.name,
                status,
                self.seconds,
                prompt_tokens=usage.prompt_tokens if usage else None,
                completion_tokens=self.completion_tokens,
                first_token_seconds=self.first_token_seconds,
                cache_kind=self.cache_kind,
                needs_human=self.sureness.needs_human,
            )
        prediction_log.put(self._entry(status, sentence))

    def _entry(self, status: int, sentence: str) -> Entry:
        question, usage = self.question, self.reply.usage
        actor = question.actor
        asked = question.asked_last
        return Entry(
            request_id=question.request_id,
            project_id=actor.project.pk,
            deployment_id=question.model.deployment_id,
            door=question.door,
            task=question.task,
            model_name=question.model.name,
            model_digest=str(self.extension.get("model_digest") or "")[:128],
            input=question.logged_input(),
            question_text=asked,
            question_length=len(asked),
            output="\n\n".join(filter(None, (choice.said for choice in self.reply.choices))),
            params=question.logged_params(),
            latency_seconds=self.seconds or 0.0,
            first_token_seconds=self.first_token_seconds,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=self.completion_tokens,
            confidence=self.confidence,
            calibrated=self.sureness.calibrated,
            needs_human=self.sureness.needs_human and status == 200,
            cached=bool(self.cache_kind),
            cache_kind=self.cache_kind,
            shadow_of=question.shadow_of,
            served_by=self.served_by[:300],
            status=status,
            error=sentence[:300],
            at=question.at,
            api_key_id=actor.api_key.pk if actor.api_key else None,
            user_id=actor.user.pk if actor.user else None,
            settles_tokens=question.settles_tokens,
        )


def _says_something(choice: Body) -> bool:
    said = choice.get("delta") or choice
    return bool(said.get("content") or said.get("text") or said.get("reasoning_content") or said.get("tool_calls"))


def status_of(error: BaseException | None) -> tuple[int, str]:
    """What the log says of how it ended: the HTTP status, and a sentence."""
    if error is None:
        return 200, ""
    if isinstance(error, UserError):
        return error.status, error.sentence
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return CALLER_LEFT, "The caller left before the answer was complete."
    return 500, type(error).__name__
