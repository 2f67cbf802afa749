"""The seam between the loop and the methods: what a method must know of its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

from finetune_engine.train.local.encode import Encoded
from finetune_engine.train.local.examples import SnapshotRow
from finetune_engine.train.local.lesson import Lesson, Sums
from finetune_engine.train.local.load import LoadedModel

Row = TypeVar("Row")
Backward = Callable[[torch.Tensor], None]
Between = Callable[[], object]


@dataclass(frozen=True)
class Limits:
    """How rows are encoded: tokens at most, and whether the prompt is learnt too."""

    max_length: int
    learn_prompt: bool = False


class Objective(Protocol[Row]):
    """One method of training. It keeps no state: everything it needs is in the lesson and its rows."""

    def encode(self, loaded: LoadedModel, row: SnapshotRow, limits: Limits) -> Row:
        """The row as ids. Raises AnswerTooLong for one that cannot fit, UserError for one that does not belong."""

    def sequences(self, row: Row) -> list[Encoded]:
        """The texts that the model reads for a row."""

    def prepare(self, lesson: Lesson, rows: Sequence[Row], between: Between) -> list[Row]:
        """The rows with what must be known before the first step; the model is as it was made."""

    def weight(self, rows: Sequence[Row]) -> float:
        """What the summed loss of ``rows`` is divided by."""

    def add_gradients(self, lesson: Lesson, rows: Sequence[Row], *, budget: int, backward: Backward) -> Sums:
        """Read ``rows`` in micro-batches of at most ``budget`` tokens, hand each one's summed loss to ``backward``.

        However rows are split, the gradients add up to the same.
        """

    def judge(self, lesson: Lesson, rows: Sequence[Row], *, budget: int, between: Between) -> Sums:
        """The same sums without learning; ``between`` is called before each batch."""
