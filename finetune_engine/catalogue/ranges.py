"""A figure that nobody knows exactly: the least, the likeliest and the most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

N = TypeVar("N", int, float, Decimal)
M = TypeVar("M", int, float, Decimal)


@dataclass(frozen=True)
class Range(Generic[N]):
    """``low`` <= ``expected`` <= ``high``, all in the same unit. Raises ValueError when they are out of order."""

    low: N
    expected: N
    high: N

    def __post_init__(self) -> None:
        if not self.low <= self.expected <= self.high:
            raise ValueError(f"a range must ascend, not {self.low}, {self.expected}, {self.high}")

    def map(self, change: Callable[[N], M]) -> Range[M]:
        """The range of ``change`` of each figure; ``change`` must not turn the order round."""
        return Range(change(self.low), change(self.expected), change(self.high))

    def as_dict(self) -> dict[str, Any]:
        """``{low, expected, high}``; Decimal as text, which keeps every digit."""
        return {
            name: str(value) if isinstance(value, Decimal) else value
            for name, value in (("low", self.low), ("expected", self.expected), ("high", self.high))
        }


def around(expected: float, *, below: float, above: float) -> Range[float]:
    """``expected`` with shares below and above it: ``around(10, below=0.2, above=0.5)`` is 8, 10, 15."""
    return Range(expected * (1 - below), expected, expected * (1 + above))


def whole(figures: Range[float]) -> Range[int]:
    """The same range in whole numbers."""
    return figures.map(lambda figure: round(figure))
