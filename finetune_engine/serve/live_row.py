"""One choice of one request while it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from finetune_engine.errors import EngineError
from finetune_engine.generate import Detokeniser, Writing
from finetune_engine.serve.answer_reader import shown_tokens
from finetune_engine.serve.choosing_tokens import Choice
from finetune_engine.serve.constrain import Constraint, constraint_of
from finetune_engine.serve.exchange import CompletionRequest, Delta, Token
from finetune_engine.train.local.load import LoadedModel


@dataclass
class LiveRow:
    """One choice of one request while it is written.

    ``owner`` is whoever asked. ``pending`` tokens wait for their text to be safe to show; ``told_text`` counts the
    characters of those told. ``problem`` ends the row, and its request, with an error.
    """

    request: CompletionRequest
    index: int
    writing: Writing
    constraint: Constraint | None = None
    owner: Any = None
    pending: list[Token] = field(default_factory=list)
    told_text: int = 0
    counts: Counter[int] = field(default_factory=Counter)
    problem: Exception | None = None
    _text: str = ""
    _tokens: list[Token] = field(default_factory=list)
    _is_told: bool = False
    _is_end_told: bool = False

    @classmethod
    def of(cls, request: CompletionRequest, index: int, loaded: LoadedModel, prompt: list[int], limit: int) -> LiveRow:
        """A row about to begin. With a seed, choice ``index`` samples the same whatever else is in the batch."""
        generator = None
        if request.seed is not None:
            generator = torch.Generator().manual_seed((request.seed + index) % 2**63)
        detokeniser = Detokeniser(loaded.tokenizer, prompt, shown=shown_tokens(request, loaded))
        writing = Writing(index, prompt, detokeniser, request.stop, limit, generator)
        # Nearly all requests ask for plain text, and looking for a grammar is not free.
        is_free = not request.tools and request.answer_schema is None
        return cls(request, index, writing, None if is_free else constraint_of(request, loaded, prompt))

    @property
    def context(self) -> list[int]:
        """What the model has to read before it can go on: the prompt, and what was written so far."""
        return self.writing.prompt + self.writing.ids

    @property
    def is_going(self) -> bool:
        """Whether tokens are still to come."""
        return self.writing.finish is None and self.problem is None

    @property
    def has_begun(self) -> bool:
        """Whether its caller has been told something."""
        return self._is_told

    def take(self, choice: Choice, eos: Sequence[int]) -> None:
        """Add a token. What can be told of it is kept for ``tell``."""
        if choice.is_broken:
            self.problem = EngineError("diverged", "the model's numbers are not finite (NaN)")
            return
        writing = self.writing
        before = len(writing.text) + len(writing.held)
        kept = len(writing.ids)
        self._text += writing.add(choice.token, choice.logprob, eos)
        if len(writing.ids) > kept:
            self.counts[choice.token] += 1
            self.pending.append(Token((writing.text + writing.held)[before:], choice.logprob, choice.rivals))
        if self.constraint is not None:
            self._follow(choice.token)
        self._settle(was_end=choice.token in eos)

    def tell(self) -> Delta | None:
        """What was written since the last time and can be shown; None when there is nothing to say. The end is told once."""
        if self.problem is not None or self._is_end_told or not (self._text or self._is_over):
            return None
        finish = self.writing.finish if self._is_over else None
        delta = Delta(self.index, self._text, tuple(self._tokens), None if finish == "cancelled" else finish)
        self._text, self._tokens, self._is_told, self._is_end_told = "", [], True, self._is_over
        return delta

    @property
    def _is_over(self) -> bool:
        return self.writing.finish is not None

    def _follow(self, token: int) -> None:
        """Tell the constraint; an answer to which nothing can be added is whole."""
        constraint, writing = self.constraint, self.writing
        if constraint is None:
            return
        constraint.take(token)
        if constraint.problem is not None:
            self.problem = constraint.problem
            return
        if writing.finish is None and constraint.is_complete:
            writing.finish = "stop"
            self._text += writing.finish_text()

    def _settle(self, *, was_end: bool) -> None:
        """Tokens whose text is wholly out can be told; after a stop text, those that reach into the answer."""
        cut = len(self.writing.text)
        stopped = self.writing.finish == "stop" and not was_end
        while self.pending:
            end = self.told_text + len(self.pending[0].text)
            if (stopped and self.told_text >= cut) or (self.writing.finish is None and end > cut):
                break
            self._tokens.append(self.pending.pop(0))
            self.told_text = end
