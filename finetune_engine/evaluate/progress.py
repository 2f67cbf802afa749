"""How far an evaluation is: questions done over all models and suites, told at most twice a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from finetune_engine.ports import Run, Stopped

PROGRESS_SECONDS = 0.5


@dataclass
class Progress:
    """Questions done of ``total``. Also the place where a run may be stopped.

    The work is cut into parts of a planned size. A part that asks more questions than planned stands still at its end, one
    that asks fewer jumps there when it is over: so the figure never runs backwards and ends at the total.
    """

    run: Run
    total: int
    _before: int = 0
    _in_part: int = 0
    _planned: int = 0
    _told_at: float = float("-inf")
    _told: int = -1

    @property
    def done(self) -> int:
        """Questions done so far in all."""
        return self._before + min(self._in_part, self._planned)

    @contextmanager
    def part(self, planned: int) -> Iterator[None]:
        """A piece of the work that is about ``planned`` questions long."""
        self._planned, self._in_part = planned, 0
        yield
        self._before, self._planned, self._in_part = self._before + planned, 0, 0
        self.advance(0)

    def advance(self, questions: int) -> None:
        """So many more questions are done. Raises Stopped when the run was told to end."""
        self.check()
        self._in_part += questions
        now = self.run.clock.monotonic()
        is_over = self.done >= self.total
        if self.done > self._told and (now - self._told_at >= PROGRESS_SECONDS or is_over):
            self._told_at, self._told = now, self.done
            self.run.emit("progress", done=self.done, total=self.total, unit="questions")

    def check(self) -> None:
        """Raise Stopped when the run was told to end, in whatever way: half an evaluation is none."""
        if (action := self.run.boundary()) != "go":
            raise Stopped(action)
