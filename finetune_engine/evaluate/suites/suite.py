"""The contract of a suite. A new suite is one file here with these four members, and one line in ``chosen.py``.

An evaluation loads one model after the other. While a model is in memory, each suite in turn may ``observe`` it: ask what
it needs through the ``Asker`` and return what it saw. When all models have been seen, each suite may ``conclude``: compare, and
say it in one ``SuiteResult``. A suite keeps no state of its own between the two; it never loads models or writes files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.asking.asker import Answer, Asker
from finetune_engine.evaluate.cases import Cases, TestCase
from finetune_engine.evaluate.scoring import Uncertainty
from finetune_engine.evaluate.spec import EvaluateSpec
from finetune_engine.ports import Run

Values = npt.NDArray[np.float64]
Made = TypeVar("Made")


@dataclass
class Bench:
    """What every suite may look at. ``answers`` and ``values`` hold the greedy answers to the unchanged cases and their
    headline value (0..1) case by case, by model key; they are there before any other suite observes that model.

    ``grade(answers, cases)`` gives the headline value (0..1) of other answers to some cases: references as they are.
    ``seconds_per_answer`` is what one answer takes, by model key, for those that the suite Speed has timed.
    ``max_new_tokens`` is the answer limit used for the cases. ``check()`` raises ports.Stopped when the run was told
    to end; call it between long pieces of work that ask no model. ``warn(code, message)`` tells the person something.
    ``once(name, make)`` keeps what a suite has worked out from the cases, the same for every model.
    """

    spec: EvaluateSpec
    cases: Cases
    how: Uncertainty
    run: Run
    max_new_tokens: int
    grade: Callable[[Sequence[str], Sequence[TestCase]], Values]
    headline: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    values: dict[str, Values] = field(default_factory=dict)
    seconds_per_answer: dict[str, float] = field(default_factory=dict)
    _made: dict[str, Any] = field(default_factory=dict, repr=False)

    def check(self) -> None:
        """Raise ports.Stopped when the run was told to end."""
        from finetune_engine.ports import Stopped

        if (action := self.run.boundary()) != "go":
            raise Stopped(action)

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """What ``make`` gives, made at the first call only."""
        if name not in self._made:
            self._made[name] = make()
        made: Made = self._made[name]
        return made

    def warn(self, code: str, message: str) -> None:
        """Tell the person something that the report will not say loudly enough."""
        self.run.emit("warn", code=code, message=message)


@dataclass(frozen=True)
class SuiteResult:
    """What a suite found. ``section`` is the JSON value that the report keeps under the suite's name; ``score`` (0..1,
    higher is better) is the subject's and goes into the overall score; None with a ``reason`` when none can be given.
    ``findings`` are plain sentences a manager can read, the gravest first, each ``{tone: ok|warn|bad, text}``."""

    section: Any
    score: float | None
    reason: str | None = None
    findings: list[dict[str, str]] = field(default_factory=list)


class Suite(Protocol):
    """One family of measurements."""

    name: str

    def questions(self, bench: Bench) -> int:
        """About how many questions one model will be asked, for the progress bar."""

    def observe(self, bench: Bench, asker: Asker) -> Any:
        """What one model does. Called once for each model, while it is in memory."""

    def conclude(self, bench: Bench, observed: Mapping[str, Any]) -> SuiteResult:
        """The section of the report. ``observed`` has the models in the order of the spec, by key."""
