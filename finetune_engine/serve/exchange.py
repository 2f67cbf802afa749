"""What passes between the wire and a backend: a request going in, pieces of an answer coming out."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

FinishReason = Literal["stop", "length"]

DEFAULT_MAX_TOKENS = 1024
"""The longest answer when a chat request names no limit (the context length caps it further)."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation. ``role`` is ``system``, ``user`` or ``assistant``."""

    role: str
    content: str


@dataclass(frozen=True)
class CompletionRequest:
    """A checked request. Exactly one of ``messages`` (chat) and ``prompt`` (plain text) is given.

    ``max_tokens`` None means up to DEFAULT_MAX_TOKENS; ``top_logprobs`` None means that the caller wants no
    log-probabilities back; ``seed`` None means unpredictable sampling. ``temperature`` 0 is greedy.
    """

    model: str
    messages: tuple[Message, ...] | None = None
    prompt: str | None = None
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

    @property
    def is_chat(self) -> bool:
        """Whether this is a conversation rather than a plain text to continue."""
        return self.messages is not None

    def message_dicts(self) -> list[dict[str, str]]:
        """The conversation as ``[{role, content}]``; empty for a plain text."""
        return [{"role": m.role, "content": m.content} for m in self.messages or ()]

    def parameters(self) -> dict[str, Any]:
        """Everything besides the model and the text that changes the answer, in JSON values (for a cache key)."""
        return {
            "prompt": self.prompt,
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
    The very last delta of a request carries ``usage`` and ``served``, and belongs to no choice.
    """

    index: int = 0
    text: str = ""
    tokens: tuple[Token, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    served: Served | None = None


class Backend(Protocol):
    """Answers requests. Called from worker threads, several at a time."""

    def complete(self, request: CompletionRequest, cancelled: threading.Event) -> Iterator[Delta]:
        """Pieces of the answer as they come. Ends early, without an error, once ``cancelled`` is set.

        Raises UserError for what the caller can mend (unknown model, prompt too long) and EngineError
        when the model cannot be loaded or run.
        """

    def loaded_models(self) -> list[str]:
        """Ids of the models that would answer without loading anything."""
