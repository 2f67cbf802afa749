"""What the live view of a job shows first; ``static/js/live-job.js`` carries on from there.

The stream at ``events_url`` sends, each with ``id: <int>`` and JSON in ``data``:
``phase {phase, label}``, ``progress {done, total, unit, eta_seconds, percent}``, ``metric {step, ...}`` (see ``CURVES``),
``sample {step, prompt, answer, reference}``, ``checkpoint {step, metrics, is_best, message, at}``, ``log {level, message, at}``,
``state {state, label, tone}``, ``reading {sentence}`` (optional) and at last ``end {state, url}``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from web_kit.plots import thinned
from web_kit.sse import finite

MOST_POINTS = 1500  # more than a screen has pixels for
LOSSES = ("train_loss", "valid_loss")


@dataclass(frozen=True)
class CurveKind:
    """A number that is told with every step and has a small drawing of its own. ``unit`` is what
    ``static/js/charts.js`` puts beside it: ``bytes``, ``share``, ``whole`` (no decimals) or nothing."""

    key: str
    label: str | Promise
    glossary: str = ""
    unit: str = ""


CURVES = (
    CurveKind("tokens_per_second", gettext_lazy("Tokens per second"), "token", "whole"),
    CurveKind("learning_rate", gettext_lazy("Learning rate"), "learning_rate"),
    CurveKind("grad_norm", gettext_lazy("Size of the adjustments"), "gradient_norm"),
    CurveKind("memory_bytes", gettext_lazy("Memory"), "", "bytes"),
    CurveKind("rewards_margin", gettext_lazy("Lead of the better answer"), "rewards_margin"),
    CurveKind("rewards_accuracy", gettext_lazy("Better answer preferred"), "rewards_accuracy", "share"),
)
_KEYS = ("step", *LOSSES, "train_accuracy", *(curve.key for curve in CURVES))


@dataclass(frozen=True)
class Curve:
    """A small drawing: its kind, and the points so far."""

    kind: CurveKind
    points: list[tuple[Any, Any]]

    @property
    def series(self) -> list[tuple[str, list[tuple[Any, Any]]]]:
        """For ``{% line_chart %}``."""
        return [(str(self.kind.label), self.points)]

    @property
    def newest(self) -> Any:
        """The last value, None without any."""
        return self.points[-1][1] if self.points else None


@dataclass(frozen=True)
class LogLine:
    """One line of the log. ``level`` is ``info``, ``warning`` or ``error``."""

    message: str
    at: datetime
    level: str = "info"


@dataclass(frozen=True)
class Sample:
    """What the model answered at a step. ``reference`` is the answer it should give, empty when there is none."""

    step: int
    prompt: str
    answer: str
    reference: str = ""


@dataclass(frozen=True)
class LiveJob:
    """The state of a job at the moment the page is drawn.

    ``last_event_id`` is the number of the newest event contained in these fields: the stream is asked for later
    ones only (``?after=``). None means "replay all". ``metrics`` are dictionaries as in the ``metric`` event, steps
    ascending; ``samples`` come newest first. ``has_chart`` False leaves out the curves (an import, an evaluation).
    """

    events_url: str
    state: str
    state_label: str = ""
    tone: str = ""
    phase_label: str = ""
    done: float | None = None
    total: float | None = None
    unit: str = ""
    eta_seconds: float | None = None
    reading: str = ""
    metrics: Sequence[Mapping[str, Any]] = ()
    samples: Sequence[Sample] = ()
    log: Sequence[LogLine] = ()
    last_event_id: int | None = None
    result_url: str = ""
    is_finished: bool = False
    has_chart: bool = True

    @cached_property
    def drawn(self) -> list[Mapping[str, Any]]:
        """The metrics that are drawn: every check and every broken loss, and of the others as many as can be seen."""
        return thinned(self.metrics, MOST_POINTS, keep=_is_telling)

    @property
    def points(self) -> list[dict[str, Any]]:
        """The metrics as JSON values (NaN spelled out), for the script."""
        return [{key: finite(row[key]) for key in _KEYS if row.get(key) is not None} for row in self.drawn]

    @property
    def series(self) -> list[tuple[str, list[tuple[Any, Any]]]]:
        """Training and validation loss as lines for the chart that needs no script."""
        validation = [(row["step"], row["valid_loss"]) for row in self.drawn if row.get("valid_loss") is not None]
        return [
            (_("Training"), [(row["step"], row.get("train_loss")) for row in self.drawn]),
            (_("Validation"), validation),
        ]

    @property
    def curves(self) -> list[Curve]:
        """The small drawings; one without points is there for the script to begin."""
        return [
            Curve(kind, [(row["step"], row[kind.key]) for row in self.drawn if row.get(kind.key) is not None])
            for kind in CURVES
        ]

    @property
    def samples_by_step(self) -> list[tuple[int, list[Sample]]]:
        """The samples of each check, the newest check first."""
        return [(step, list(rows)) for step, rows in itertools.groupby(self.samples, key=lambda sample: sample.step)]

    def latest(self, name: str) -> Any:
        """The newest value of a metric, None when there is none yet."""
        return next((row[name] for row in reversed(self.metrics) if row.get(name) is not None), None)

    @property
    def train_loss(self) -> Any:
        """The newest training loss."""
        return self.latest("train_loss")

    @property
    def valid_loss(self) -> Any:
        """The newest validation loss."""
        return self.latest("valid_loss")

    @property
    def tokens_per_second(self) -> Any:
        """The newest speed."""
        return self.latest("tokens_per_second")


def _is_telling(row: Mapping[str, Any]) -> bool:
    return row.get("valid_loss") is not None or isinstance(row.get("train_loss"), str)
