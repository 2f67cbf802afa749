"""Events: what a run tells the world, one JSON object per line.

``{"kind": "metric", "at": 1764000000.0, "data": {...}}``. The kinds are listed in ``KINDS``; their data
is described where they are emitted.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

from finetune_engine.train.failpoints import failpoint

KINDS = frozenset(
    {"phase", "progress", "metric", "checkpoint", "sample", "log", "warn", "result", "stopped", "error", "done"}
)


@dataclass(frozen=True)
class Event:
    """One thing that happened. ``at`` is Unix seconds; ``data`` holds JSON values only."""

    kind: str
    at: float
    data: dict[str, Any] = field(default_factory=dict)

    def to_line(self) -> str:
        """The event as one line of strict JSON (NaN and infinities become strings ``"nan"``, ``"inf"``)."""
        return json.dumps(
            {"kind": self.kind, "at": self.at, "data": _finite(self.data)}, ensure_ascii=False, allow_nan=False
        )


class Sink(Protocol):
    """Where events go."""

    def emit(self, event: Event) -> None:
        """Record one event; must not raise for a slow reader."""


class StreamSink:
    """Writes events as JSON lines to a text stream (standard output by default), flushed one by one."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout

    def emit(self, event: Event) -> None:
        """Write and flush one line."""
        failpoint("event", "before")
        self._stream.write(event.to_line() + "\n")
        self._stream.flush()
        failpoint("event", "after")


class ListSink:
    """Keeps events in a list, for callers that read them afterwards."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Append one event."""
        self.events.append(event)


def parse_line(line: str) -> Event | None:
    """The event on a line, or None when the line is not one (a library printed something). The character NUL, which models
    do say and PostgreSQL does not take, becomes U+FFFD."""
    try:
        raw = json.loads(line.replace("\\u0000", "\\ufffd"))
    except ValueError:
        return None
    if not isinstance(raw, dict) or raw.get("kind") not in KINDS or not isinstance(raw.get("data"), dict):
        return None
    return Event(kind=raw["kind"], at=float(raw.get("at") or 0.0), data=raw["data"])


def parse_lines(lines: Iterator[str]) -> Iterator[Event]:
    """All events among ``lines``; other lines are passed over."""
    for line in lines:
        if (event := parse_line(line)) is not None:
            yield event


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
