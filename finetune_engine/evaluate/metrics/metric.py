"""The contract of a metric. A new one is a file here with a class of this shape, and one line in ``chosen.py``.

The shortest is ``token_f1.py``. ``measure`` looks at the answers to all cases and returns a ``Measured``; intervals,
paired tests and corrections then come by themselves, for they need nothing but its sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.metrics.labels import LabelReader
from finetune_engine.evaluate.statistics.intervals import OfSums, mean_of_sums, mean_rows

Values = npt.NDArray[np.float64]
Made = TypeVar("Made")

TEXT_TASKS = frozenset({"completion", "chat", "preference"})
LABEL_TASKS = frozenset({"classification"})
ALL_TASKS = TEXT_TASKS | LABEL_TASKS


@dataclass(frozen=True)
class Material:
    """What a metric may look at, case by case, all lists of one length.

    ``labels`` are the true labels (empty outside classification) among ``known_labels``. ``likeliest`` is the label of highest
    likelihood, ``nll`` the cost (nats) of the reference in ``tokens`` tokens; None where the model was not asked or cannot say.
    """

    answers: Sequence[str]
    references: Sequence[str]
    labels: Sequence[str] = ()
    known_labels: Sequence[str] = ()
    likeliest: Sequence[str] | None = None
    nll: Sequence[float] | None = None
    tokens: Sequence[int] | None = None
    _kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def predictions(self) -> list[str]:
        """The label each answer names, or ``labels.UNPARSABLE``."""
        return self.once("predictions", lambda: list(map(LabelReader(self.known_labels).read, self.answers)))

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """``make()``, computed once for all metrics that ask for ``name``."""
        if name not in self._kept:
            self._kept[name] = make()
        made: Made = self._kept[name]
        return made


@dataclass(frozen=True)
class Measured:
    """A metric over all cases.

    ``rows`` is ``(n, k)``, numbers of each case that may be added up; ``of_sums`` reads values off sums, ``(m, k)`` to
    ``(m,)``: so an interval takes no second look at the texts. ``values`` ``(n,)`` are the metric of each case alone, in
    the metric's own unit; None where a single case has none. ``signature`` says how it was made, with what settings.
    """

    rows: Values
    of_sums: OfSums
    values: Values | None
    signature: str

    @property
    def value(self) -> float:
        """The metric over all cases."""
        return float(self.of_sums(self.rows.sum(axis=0, keepdims=True))[0])


class Metric(Protocol):
    """One metric. ``unit`` is ``share`` (0..1), ``hundred`` (0..100) or ``number`` (no upper end).

    ``is_proportion``: each case is right (1) or wrong (0), so Wilson's interval and McNemar's test apply.
    ``task_types`` are those for which it is computed unless the spec names its metrics; ``suits`` then looks at the data.
    """

    name: str
    unit: str
    higher_is_better: bool
    is_proportion: bool
    task_types: frozenset[str]

    def suits(self, material: Material) -> bool:
        """Whether it can be computed, and says something, on this material."""

    def measure(self, material: Material) -> Measured:
        """The metric of these answers."""


def mean_over(values: Sequence[float] | Values, signature: str) -> Measured:
    """A metric that is the plain mean of its values case by case."""
    column = np.asarray(values, dtype=np.float64)
    return Measured(mean_rows(column), mean_of_sums, column, signature)


def each(score: Callable[[str, str], float], material: Material) -> Values:
    """``score(answer, reference)`` of every case."""
    pairs = zip(material.answers, material.references, strict=True)
    return np.asarray([float(score(answer, reference)) for answer, reference in pairs], dtype=np.float64)
