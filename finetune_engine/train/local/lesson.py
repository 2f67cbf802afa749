"""What the training loop works on, and the sums it counts with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from finetune_engine.train.local.callbacks.callback import Crew
from finetune_engine.train.local.team import ALONE, Team
from finetune_engine.train.spec import EffectiveSpec

if TYPE_CHECKING:
    from finetune_engine.train.local.objectives.objective import Objective


@dataclass(frozen=True)
class Lesson:
    """A trainable torch module, encoded rows, what to make of them (``objective``) and settled settings.

    The kind of the rows is the objective's. ``facts`` identify the run in its checkpoints; ``flat`` says how rows are
    laid out (see ``forward``), ``crew`` what happens beside, ``team`` with which processes the model is trained.
    """

    model: Any
    objective: Objective[Any]
    train: Sequence[Any]
    valid: Sequence[Any]
    spec: EffectiveSpec
    device: torch.device
    dtype: torch.dtype
    pad_id: int
    flat: bool
    checkpoints: Path
    facts: dict[str, Any]
    team: Team = ALONE
    crew: Crew = field(default_factory=Crew)


@dataclass(frozen=True)
class Sums:
    """What some rows add up to; sums of parts are the sum of the whole, whoever counted them.

    ``loss`` over ``weight`` is the mean loss. ``correct`` of ``scored`` tokens of answers to imitate were the
    likeliest; ``tokens`` were read. Of preferences: the rewards (``beta`` times the log-ratio to the reference) of
    ``wanted`` and ``unwanted`` answers, and how often of ``judged`` the model ``agreed`` with the people.
    """

    loss: float = 0.0
    weight: float = 0.0
    correct: float = 0.0
    scored: float = 0.0
    tokens: float = 0.0
    wanted_reward: float = 0.0
    wanted: float = 0.0
    unwanted_reward: float = 0.0
    unwanted: float = 0.0
    agreed: float = 0.0
    judged: float = 0.0

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))

    @property
    def mean_loss(self) -> float:
        """nan when there is nothing to divide by."""
        return self.loss / self.weight if self.weight else float("nan")

    @property
    def accuracy(self) -> float:
        """Share of scored tokens that were the likeliest (nan when there is none)."""
        return self.correct / self.scored if self.scored else float("nan")

    def rewards(self) -> dict[str, float]:
        """``rewards_margin`` (None where one side is missing: left out) and ``rewards_accuracy``; {} without rewards."""
        found: dict[str, float] = {}
        if self.wanted and self.unwanted:
            found["rewards_margin"] = self.wanted_reward / self.wanted - self.unwanted_reward / self.unwanted
        if self.judged:
            found["rewards_accuracy"] = self.agreed / self.judged
        return found
