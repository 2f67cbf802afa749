"""Ask only what is not known yet, and keep each batch of answers as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from finetune_engine.evaluate.asking.store import AnswerStore
from finetune_engine.ports import Run, Stopped

Batch = Iterable[tuple[int, Any]]


class Watch(Protocol):
    """Who is told how many questions are done, and says when to stop."""

    @property
    def run(self) -> Run:
        """Where warnings go, and who may end it all."""

    def advance(self, questions: int) -> None:
        """So many more questions are done. Raises ports.Stopped when the run was told to end."""


def is_stopping(run: Run) -> bool:
    """Whether the run was told to end. A run on hold goes on with what it is at."""
    return run.stop.action() not in ("go", "hold")


def raise_stopped(run: Run) -> None:
    """Raise ports.Stopped as the run was told."""
    action = run.boundary()
    raise Stopped(action if action != "go" else "cancel")


def remembered(
    store: AnswerStore,
    watch: Watch,
    keys: Sequence[bytes],
    ask: Callable[[list[int], Callable[[Batch], None]], None],
) -> list[Any]:
    """The value of each key, in order. ``ask(rows, keep)`` is called once with the rows whose keys are unknown, each key
    once, and hands over ``(row, value)`` of the rows through ``keep``, batch by batch; None stands for what it did not give.
    """
    known = store.get(keys)
    first: dict[bytes, int] = {}
    for row, key in enumerate(keys):
        if key not in known:
            first.setdefault(key, row)
    repeats = len(keys) - len(first)
    if repeats:
        watch.advance(repeats)
    fresh: dict[bytes, Any] = {}

    def keep(batch: Batch) -> None:
        values = [(keys[row], value) for row, value in batch]
        store.put(values)
        fresh.update(values)
        watch.advance(len(values))

    if first:
        ask(list(first.values()), keep)
    return [known[key] if key in known else fresh.get(key) for key in keys]
