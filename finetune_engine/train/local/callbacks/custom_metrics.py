"""Numbers that the operator's own functions count from each evaluation."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from finetune_engine.train.local.callbacks.callback import Callback, Moment

Metric = Callable[[Moment], Mapping[str, float]]


class CustomMetrics(Callback):
    """Calls a function ``(Moment) -> {name: number}`` after each evaluation; ``place`` is ``package.module:function``.

    Only the operator names functions (in the environment): a request cannot.
    """

    def __init__(self, place: str) -> None:
        module, _, name = place.partition(":")
        self._metric: Metric = getattr(importlib.import_module(module), name)

    def numbers(self, moment: Moment) -> dict[str, float]:
        """The function's numbers, where the step was evaluated."""
        if not moment.is_evaluated:
            return {}
        return {name: float(value) for name, value in self._metric(moment).items()}
