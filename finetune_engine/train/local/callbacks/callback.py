"""The contract of callbacks, and the crew that keeps their mistakes away from the training.

A callback is told when training starts, after every step, and when it ends, however it ends. It may add numbers to a
step and may ask for training to stop; it never touches the model, the optimiser or the random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from finetune_engine.ports import Run
from finetune_engine.train.local.history import StepMetrics


@dataclass(frozen=True)
class Moment:
    """A finished step. ``numbers`` are those of the metric event; ``stale`` counts evaluations without gain."""

    step: int
    total_steps: int
    numbers: Mapping[str, Any]
    is_evaluated: bool
    stale: int
    best_step: int | None


class Callback:
    """Does nothing; override what you need."""

    def started(self, settings: Mapping[str, Any], history: Sequence[StepMetrics]) -> None:
        """Training begins with the settled ``settings``; ``history`` holds the steps of earlier attempts."""

    def numbers(self, moment: Moment) -> Mapping[str, float]:
        """More numbers for this step; they are shown and kept like the others."""
        return {}

    def after_step(self, moment: Moment) -> str | None:
        """The step is recorded and saved. A reason (a short key) ends training with what was learnt; None goes on."""
        return None

    def ended(self) -> None:
        """Training is over: finished, stopped or failed."""

    def kept(self, step: int) -> None:
        """Training was good to the end: the model holds the weights of ``step``, which are saved next."""


@dataclass
class Crew:
    """Callbacks together. One that fails is named in a warning and not asked again; training goes on."""

    run: Run | None = None
    members: list[Callback] = field(default_factory=list)

    def started(self, settings: Mapping[str, Any], history: Sequence[StepMetrics]) -> None:
        """Tell everyone."""
        for member in list(self.members):
            self._ask(member, "started", settings, history)

    def numbers(self, moment: Moment) -> dict[str, float]:
        """Everyone's numbers; those that training itself counts are not replaced."""
        found: dict[str, float] = {}
        for member in list(self.members):
            found |= self._ask(member, "numbers", moment) or {}
        return {name: value for name, value in found.items() if name not in moment.numbers}

    def after_step(self, moment: Moment) -> str | None:
        """The first reason to stop that anyone has."""
        reasons = [self._ask(member, "after_step", moment) for member in list(self.members)]
        return next((reason for reason in reasons if reason), None)

    def ended(self) -> None:
        """Tell everyone."""
        for member in list(self.members):
            self._ask(member, "ended")

    def kept(self, step: int) -> None:
        """Tell everyone."""
        for member in list(self.members):
            self._ask(member, "kept", step)

    def _ask(self, member: Callback, what: str, *about: Any) -> Any:
        try:
            return getattr(member, what)(*about)
        except Exception as problem:  # a front door: whatever a callback or its service does, training goes on
            self.members.remove(member)
            if self.run is not None:
                message = f"{type(member).__name__} failed and is left out from here on: {problem}"
                self.run.emit("warn", code="callback_failed", message=message[:500])
            return None
