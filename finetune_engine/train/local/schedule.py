"""The learning rate at each step: a pure function, so that a resumed run needs no state for it."""

from __future__ import annotations

import math


def rate_at(step: int, *, peak: float, total: int, warmup: int, kind: str) -> float:
    """The rate of optimiser step ``step`` (from 0): rises over ``warmup`` steps, then follows ``kind``.

    Same curves as transformers' schedulers of these names, except that the first step is not wasted at 0.
    """
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if kind in ("constant", "constant_with_warmup"):
        return peak
    done = (step - warmup) / max(1, total - warmup)
    if kind == "linear":
        return peak * max(0.0, 1.0 - done)
    return peak * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
