"""What the engine is handed from outside: a clock, a stop signal and a place for events."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from finetune_engine.events import Event, Sink

Action = Literal["go", "hold", "pause", "stop_and_keep", "cancel"]
ACTIONS: tuple[Action, ...] = ("go", "hold", "pause", "stop_and_keep", "cancel")


class Stopped(Exception):
    """Raised at a step boundary when the run was told to end early. ``action`` says how."""

    def __init__(self, action: Action) -> None:
        super().__init__(action)
        self.action = action


class Clock(Protocol):
    """Time, so that a test can hold it."""

    def now(self) -> float:
        """Unix seconds."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, from an arbitrary start."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()


class StopSignal(Protocol):
    """Asked at every step boundary."""

    def action(self) -> Action:
        """What the run should do now. Returns at once."""


class NeverStop:
    """A run that nobody interrupts."""

    def action(self) -> Action:
        """Always ``go``."""
        return "go"


class ControlFile:
    """Reads ``control.json``, written by whoever supervises; SIGTERM means cancel.

    ``{"action": ..., "good_for_seconds": ...}``: with ``good_for_seconds`` the file must be touched that often; a run whose
    supervisor is frozen or cut off holds until it is heard again. The file is re-read only when its modification time
    or size changed, so asking costs one ``stat``. ``"is_leaving": true`` beside ``pause`` says that only this machine's
    worker leaves, and another goes on with the run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._action: Action = "go"
        self._good_for: float | None = None
        self._terminated = False
        self._leaving = False

    @property
    def is_leaving(self) -> bool:
        """Whether the run ends here only to go on elsewhere: told so, or by a SIGTERM that followed no wish to cancel."""
        return self._leaving or (self._terminated and self._action != "cancel")

    def listen_for_sigterm(self) -> None:
        """Take SIGTERM as ``cancel``. Main thread only."""
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, signum: int, frame: Any) -> None:
        self._terminated = True

    def action(self) -> Action:
        """The newest instruction; a missing or half-written file changes nothing."""
        if self._terminated:
            return "cancel"
        try:
            stat = self._path.stat()
            mark = (stat.st_mtime_ns, stat.st_size)
            if mark != self._seen:
                told = json.loads(self._path.read_text())
                self._seen = mark
                if told["action"] in ACTIONS:
                    self._action, self._good_for = told["action"], told.get("good_for_seconds")
                    self._leaving = bool(told.get("is_leaving"))
            if self._good_for is not None and abs(time.time() - stat.st_mtime) > self._good_for:
                return "hold"
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return self._action


@dataclass
class Run:
    """Everything a command needs of the world: where events go, when to stop, what time it is."""

    sink: Sink
    stop: StopSignal = field(default_factory=NeverStop)
    clock: Clock = field(default_factory=SystemClock)
    sleep: Callable[[float], None] = time.sleep

    def emit(self, kind: str, **data: Any) -> None:
        """Send one event, stamped with the clock."""
        self.sink.emit(Event(kind=kind, at=self.clock.now(), data=data))

    def boundary(self) -> Action:
        """Call at every safe point. Waits while told to hold; raises Stopped("cancel").

        Returns ``go``, ``pause`` or ``stop_and_keep``: for the last two the caller saves first, then raises
        Stopped itself (pause) or finishes with what it has (stop_and_keep).
        """
        while (action := self.stop.action()) == "hold":
            self.sleep(0.2)
        if action == "cancel":
            raise Stopped("cancel")
        return action
