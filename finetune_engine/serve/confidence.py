"""How sure a model was of its answer, from the probabilities of the tokens it emitted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Confidence:
    """``value`` is the geometric mean of the tokens' probabilities, ``minimum`` the least of them; both 0..1."""

    value: float
    minimum: float


def confidence_of(logprobs: Iterable[float]) -> Confidence | None:
    """exp(mean log-probability) and the smallest probability, of the visible tokens at temperature 1.

    None when there is nothing to judge by: no token, or a backend that gives no log-probabilities. The end
    mark is not counted, so a client finds the same number from the ``logprobs`` it was sent.
    """
    values = [min(value, 0.0) for value in logprobs]  # another server may round 0 upwards, or send anything
    if not values or any(math.isnan(value) for value in values):
        return None
    return Confidence(value=math.exp(math.fsum(values) / len(values)), minimum=math.exp(min(values)))
