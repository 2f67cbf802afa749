"""Scaling the loss up for 16-bit floats, so that small gradients do not become 0."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

# The numbers of torch.amp.GradScaler. Ours keeps its state in the checkpoint and knows nothing of an optimiser.
FIRST, GROWTH, BACK_OFF, GOOD_STEPS = 65_536.0, 2.0, 0.5, 2000


@dataclass
class LossScale:
    """``factor`` 1.0 and not ``in_use`` for number formats that need none."""

    in_use: bool = False
    factor: float = 1.0
    good: int = 0

    @classmethod
    def for_dtype(cls, dtype: torch.dtype) -> LossScale:
        """A scale for fp16, none for the others."""
        return cls(in_use=True, factor=FIRST) if dtype == torch.float16 else cls()

    def undo(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Bring gradients of the scaled loss back to their size."""
        if self.in_use:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.div_(self.factor)

    def learn(self, *, is_finite: bool) -> bool:
        """Take note of a step; returns whether a step that is not finite is the scale's fault, not the model's."""
        if not self.in_use:
            return False
        if is_finite:
            self.good += 1
            if self.good >= GOOD_STEPS:
                self.factor, self.good = self.factor * GROWTH, 0
            return False
        was_scaled = self.factor > 1.0
        self.factor, self.good = max(1.0, self.factor * BACK_OFF), 0
        return was_scaled
