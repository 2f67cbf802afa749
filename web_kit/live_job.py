"""What the live view of a job shows first; ``static/js/live-job.js`` carries on from there.

The stream at ``events_url`` sends, each with ``id: <int>`` and JSON in ``data``:
``phase {phase, label}``, ``progress {done, total, unit, eta_seconds, percent}``,
``metric {step, train_loss, valid_loss?, train_accuracy?, tokens_per_second?}``, ``log {level, message, at}``,
``state {state, label, tone}``, ``reading {sentence}`` (optional) and at last ``end {state, url}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from web_kit.sse import finite


@dataclass(frozen=True)
class LogLine:
    """One line of the log. ``level`` is ``info``, ``warning`` or ``error``."""

    message: str
    at: datetime
    level: str = "info"


@dataclass(frozen=True)
class LiveJob:
    """The state of a job at the moment the page is drawn.

    ``last_event_id`` is the number of the newest event contained in these fields: the stream is asked for later
    ones only (``?after=``). None means "replay all". ``metrics`` are dictionaries as in the ``metric`` event.
    ``has_chart`` False leaves out the loss chart (an import, an evaluation).
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
    log: Sequence[LogLine] = ()
    last_event_id: int | None = None
    result_url: str = ""
    is_finished: bool = False
    has_chart: bool = True

    @property
    def points(self) -> list[dict[str, Any]]:
        """The metrics as JSON values (NaN spelled out), for the script."""
        keys = ("step", "train_loss", "valid_loss", "train_accuracy", "tokens_per_second")
        return [{key: finite(row[key]) for key in keys if row.get(key) is not None} for row in self.metrics]

    @property
    def series(self) -> list[tuple[str, list[tuple[Any, Any]]]]:
        """Training and validation loss as lines for the chart that needs no script."""
        validation = [(row["step"], row["valid_loss"]) for row in self.metrics if row.get("valid_loss") is not None]
        return [
            (_("Training"), [(row["step"], row.get("train_loss")) for row in self.metrics]),
            (_("Validation"), validation),
        ]

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
