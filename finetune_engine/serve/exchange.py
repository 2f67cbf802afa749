"""What passes between the wire and a backend: a request going in, pieces of an answer coming out."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from finetune_engine.errors import UserError

FinishReason = Literal["stop", "length", "tool_calls"]

DEFAULT_MAX_TOKENS = 1024
"""The longest answer when a chat request names no limit (the context length caps it further)."""


@dataclass(frozen=True)
class ToolCall:
    """A function that the model wants called. ``arguments`` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str

    def as_dict(self) -> dict[str, Any]:
        """OpenAI's object."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True)
class Message:
    """One turn of a conversation. ``role`` is ``system``, ``user``, ``assistant`` or ``tool``.

    ``tool_calls`` are those of an assistant's turn (its ``content`` is then often empty); ``tool_call_id`` says
    which of them a tool's turn answers.
    """

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """``{role, content}``, and what a turn about tools has besides."""
        out: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            out["tool_calls"] = [call.as_dict() for call in self.tool_calls]
        if self.tool_call_id is not None:
            out["tool_call_id"] = self.tool_call_id
        return out


@dataclass(frozen=True)
class Tool:
    """A function that the model may ask for. ``parameters`` is the JSON schema of its arguments.

    ``strict`` promises the caller that arguments keep to the schema even where the model is free to call or not.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    strict: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As chat templates and OpenAI write it."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class AnswerSchema:
    """The JSON that an answer has to be: an instance of ``schema``. ``field`` names the parameter that asked for it."""

    schema: Mapping[str, Any]
    name: str = ""
    field: str = "response_format"


@dataclass(frozen=True)
class CompletionRequest:
    """A checked request. Exactly one of ``messages`` (chat) and ``prompt`` (plain text) is given.

    ``max_tokens`` None means up to DEFAULT_MAX_TOKENS; ``top_logprobs`` None means that the caller wants no
    log-probabilities back; ``seed`` None means unpredictable sampling. ``temperature`` 0 is greedy.
    ``tools`` are empty where none may be called; ``must_call`` demands a call, of ``tool_name`` if that is given.
    ``more_prompts`` follow ``prompt``; each has ``n`` choices, and the choices of the first come first.
    ``echo`` puts the prompt before each answer (whoever writes the response does that, not the backend).
    """

    model: str
    messages: tuple[Message, ...] | None = None
    prompt: str | None = None
    more_prompts: tuple[str, ...] = ()
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    n: int = 1
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    top_logprobs: int | None = None
    stream: bool = False
    include_usage: bool = False
    tools: tuple[Tool, ...] = ()
    must_call: bool = False
    tool_name: str | None = None
    parallel_tool_calls: bool = True
    answer_schema: AnswerSchema | None = None
    echo: bool = False

    @property
    def is_chat(self) -> bool:
        """Whether this is a conversation rather than a plain text to continue."""
        return self.messages is not None

    @property
    def prompts(self) -> tuple[str, ...]:
        """The plain texts to continue; empty for a conversation."""
        return () if self.prompt is None else (self.prompt, *self.more_prompts)

    @property
    def choice_count(self) -> int:
        """How many answers are written: ``n`` for the conversation or for each text."""
        return self.n * max(1, len(self.prompts))

    def message_dicts(self) -> list[dict[str, Any]]:
        """The conversation as ``[{role, content}]`` and what turns about tools have besides; empty for a plain text."""
        return [message.as_dict() for message in self.messages or ()]

    def tool_dicts(self) -> list[dict[str, Any]]:
        """The tools as OpenAI and chat templates write them."""
        return [tool.as_dict() for tool in self.tools]

    def limit_within(self, context_length: int, prompt_length: int) -> int:
        """The most tokens the answer may have after a prompt of ``prompt_length`` tokens (at least 1).

        Raises UserError (400) when the prompt leaves no room, or when more was asked for than a model of
        ``context_length`` tokens can ever write. An answer that meets the end of the context before
        ``max_tokens`` ends there with the finish reason ``length``.
        """
        field_name = "messages" if self.is_chat else "prompt"
        if prompt_length >= context_length:
            sent = "the messages and tools sent have" if self.tools else "the text sent has"
            raise _bad(
                "context_length_exceeded",
                f"This model reads at most {context_length} tokens, the answer included; "
                f"{sent} {prompt_length}. Shorten it.",
                field_name,
            )
        if self.max_tokens is not None and self.max_tokens > context_length:
            raise _bad(
                "invalid_value",
                f"'max_tokens' is {self.max_tokens}; this model writes and reads at most {context_length} tokens "
                f"in all. Ask for fewer.",
                "max_tokens",
            )
        return min(self.max_tokens or DEFAULT_MAX_TOKENS, context_length - prompt_length)

    def parameters(self) -> dict[str, Any]:
        """Everything besides the model and the text that changes the answer, in JSON values (for a cache key)."""
        schema = self.answer_schema
        return {
            "prompt": [*self.prompts] if self.more_prompts else self.prompt,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "n": self.n,
            "stop": list(self.stop),
            "seed": self.seed,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": {str(token): bias for token, bias in sorted(self.logit_bias.items())},
            "top_logprobs": self.top_logprobs,
            "tools": self.tool_dicts() or None,
            "strict_tools": [tool.name for tool in self.tools if tool.strict] or None,
            "tool_choice": (self.tool_name or "required") if self.must_call else None,
            "parallel_tool_calls": None if self.parallel_tool_calls else False,
            "response_format": dict(schema.schema) if schema else None,
            "echo": self.echo or None,
        }


@dataclass(frozen=True)
class Alternative:
    """One candidate for a token: its text and natural-log probability."""

    token: str
    logprob: float


@dataclass(frozen=True)
class Token:
    """One emitted token with its log-probability at temperature 1 and its likeliest rivals (best first)."""

    text: str
    logprob: float
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class ToolCallPiece:
    """A piece of the ``index``-th tool call of a choice: the first has ``id`` and ``name``, ``arguments`` add up."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True)
class Usage:
    """How many tokens a request read and wrote."""

    prompt_tokens: int
    completion_tokens: int

    def as_dict(self) -> dict[str, int]:
        """OpenAI's ``usage`` object."""
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
        }


@dataclass(frozen=True)
class Served:
    """Which model answered: the digest of its files and of the chat template it was asked through."""

    model_digest: str
    template_sha256: str | None = None


@dataclass(frozen=True)
class Delta:
    """The next piece of choice ``index``. ``finish_reason`` is set on the last piece of that choice.

    ``tokens`` are those whose text is complete in ``text``; a token cut off by a stop sequence is left out.
    ``reasoning`` is what a model that thinks wrote before its answer: no part of ``text``, its tokens not told.
    The very last delta of a request carries ``usage`` and ``served``, and belongs to no choice.
    """

    index: int = 0
    text: str = ""
    tokens: tuple[Token, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    served: Served | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCallPiece, ...] = ()


Told = Sequence[Delta] | Exception | None
Tell = Callable[[Told], None]
"""Receives pieces of an answer, then None at its end; or the error that ends it. Must not block."""

_GLANCE_SECONDS = 0.2
"""How often a caller who waits in a thread looks whether it was called off."""


@dataclass(frozen=True)
class Embedded:
    """Vectors in the order of the texts, and how many tokens were read for them."""

    vectors: list[list[float]]
    prompt_tokens: int


class Backend(ABC):
    """Answers requests. Called from many threads."""

    @abstractmethod
    def submit(self, request: CompletionRequest, cancelled: threading.Event, tell: Tell) -> None:
        """Answer; ``tell`` hears of everything, from another thread. Does not block.

        It is told the end early, without an error, once ``cancelled`` is set. Raises, or tells: UserError for what the
        caller can mend (unknown model, prompt too long), EngineError when the model cannot be loaded or run.
        """

    @abstractmethod
    def loaded_models(self) -> list[str]:
        """Ids of the models that would answer without loading anything."""

    def load(self, model_id: str) -> str | None:
        """Make a model ready to answer; the SHA-256 of its chat template, None where it lies elsewhere. Blocks.

        Raises UserError 404 for an unknown one and EngineError when it cannot be loaded.
        """
        raise _cannot()

    def embed(self, model_id: str, texts: Sequence[str]) -> Embedded:
        """Vectors of length 1. Blocks. Raises UserError (404 for an unknown embedder) and EngineError."""
        raise _cannot()

    def facts(self) -> dict[str, Any]:
        """What ``/health`` tells besides."""
        return {}

    def complete(self, request: CompletionRequest, cancelled: threading.Event | None = None) -> Iterator[Delta]:
        """``submit`` for a caller with a thread to wait in: pieces of the answer as they come, the last one with usage.

        Ends early, without an error, once ``cancelled`` is set. Raises what ``submit`` raises and tells.
        """
        stop = cancelled or threading.Event()
        told: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self.submit(request, stop, told.put)
        try:
            while not stop.is_set():
                try:
                    item = told.get(timeout=_GLANCE_SECONDS)
                except queue.Empty:
                    continue
                if item is None:
                    return
                if isinstance(item, Exception):
                    raise item
                yield from item
        finally:
            stop.set()  # a caller who stops reading is a caller who has gone


def _cannot() -> UserError:
    return UserError("unsupported", "This model server cannot do that.", status=404)


def _bad(code: str, sentence: str, field_name: str) -> UserError:
    return UserError(code, sentence, field_name, reason="bad_config", status=400)
