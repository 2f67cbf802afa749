"""The one way in which suites speak to a model, wherever it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from finetune_engine.evaluate.spec import ModelSpec

Messages = Sequence[Mapping[str, Any]]
"""OpenAI-style messages; they end before the answer."""
FATAL = frozenset({"endpoint_failed", "no_endpoint_key", "host_not_allowed", "foreign_address"})
"""Mistakes that concern a model and not the suite that met them."""


@dataclass(frozen=True)
class Answer:
    """A greedy answer. ``finish_reason`` is ``stop`` or ``length``; counts and seconds None where nobody knows them.

    ``logprob`` is the mean log-probability (nats) of the emitted tokens; None when the model gives none.
    """

    text: str
    finish_reason: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    logprob: float | None = None


@dataclass(frozen=True)
class ReferenceCost:
    """What it costs the model to say a given text: summed negative log-likelihood in nats over ``tokens`` tokens,
    the end token included."""

    nll: float
    tokens: int


class Asker(Protocol):
    """A model that answers. Everything is greedy, goes through the answer store, and may raise ports.Stopped.

    Answers come back in the order of the questions. What was asked before with the same content is not asked again.
    """

    @property
    def spec(self) -> ModelSpec:
        """Which model this is."""

    @property
    def digest(self) -> str:
        """Content address of the model: same digest, same answers."""

    @property
    def can_score(self) -> bool:
        """Whether likelihoods can be had (a local model: yes; most endpoints: no)."""

    @property
    def vocabulary(self) -> int | None:
        """How many tokens the model chooses from at each step; None where nobody knows."""

    def answer(self, questions: Sequence[Messages], *, max_new_tokens: int) -> list[Answer]:
        """One greedy answer to each question. A prompt that does not fit is cut at its oldest tokens."""

    def cost_of(self, questions: Sequence[Messages], texts: Sequence[str]) -> list[ReferenceCost]:
        """What each text costs as the answer to its question. Raises EngineError when ``can_score`` is False."""

    def choice_loglikelihoods(
        self, questions: Sequence[Messages], choices: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Summed log-likelihood (nats, end token included) of each choice as the answer to its question:
        ``[question][choice]``. Every question has its own list of choices; the lists may differ in length."""

    def text_cost(self, texts: Sequence[str]) -> list[ReferenceCost]:
        """What plain running text costs, without template or question (cut to the context length)."""
