"""The suites that are run, by name. To add one, write a file beside this one and a line here (and its name in ``spec.py``)."""

from __future__ import annotations

from collections.abc import Callable

from finetune_engine.evaluate.suites.suite import Suite


def _robustness() -> Suite:
    from finetune_engine.evaluate.suites.robustness import Robustness

    return Robustness()


def _fairness() -> Suite:
    from finetune_engine.evaluate.suites.fairness import Fairness

    return Fairness()


def _cost() -> Suite:
    from finetune_engine.evaluate.suites.cost import Cost

    return Cost()


def _capabilities() -> Suite:
    from finetune_engine.evaluate.suites.capabilities import Capabilities

    return Capabilities()


def _performance() -> Suite:
    from finetune_engine.evaluate.suites.performance import Performance

    return Performance()


SUITES: dict[str, Callable[[], Suite]] = {
    "performance": _performance,
    "robustness": _robustness,
    "fairness": _fairness,
    "cost": _cost,
    "capabilities": _capabilities,
}
"""``quality`` is not among them: its answers are what every other suite looks at, so it always runs, and first."""


def suites_of(names: tuple[str, ...]) -> list[Suite]:
    """The suites named, ``quality`` left out, in the order in which they run."""
    return [make() for name, make in SUITES.items() if name in names]
