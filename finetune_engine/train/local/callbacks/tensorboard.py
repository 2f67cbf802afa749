"""Event files for TensorBoard, beside the checkpoints and later in the artefact: no service, nothing sent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetune_engine.train.local.callbacks.callback import Callback, Moment
from finetune_engine.train.local.history import StepMetrics

FOLDER = "tensorboard"


class TensorBoard(Callback):
    """Writes every number of every step under ``folder``.

    Steps wait in memory until the first evaluation, so that the library is not loaded before the first step.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None
        self._waiting: list[tuple[int, dict[str, float]]] = []
        self._first = 0

    def started(self, settings: Mapping[str, Any], history: Sequence[StepMetrics]) -> None:
        """On another machine the earlier steps are written again; here they are in the files already."""
        self._first = history[-1].step + 1 if history else 0
        if not any(self._folder.glob("events.*")):
            self._waiting = [(row.step, _finite(asdict(row))) for row in history]

    def after_step(self, moment: Moment) -> None:
        """Keep the numbers; write at evaluations."""
        self._waiting.append((moment.step, _finite(moment.numbers)))
        if moment.is_evaluated:
            self._write()

    def ended(self) -> None:
        """Write what is left and close the file."""
        self._write()
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> None:
        if not self._waiting:
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # Steps that an interrupted attempt wrote and this one repeats are marked as void.
            self._writer = SummaryWriter(str(self._folder), purge_step=self._first)  # type: ignore[no-untyped-call]
        for step, numbers in self._waiting:
            for name, value in numbers.items():
                self._writer.add_scalar(_tag(name), value, step)
        self._waiting.clear()
        self._writer.flush()


def _finite(numbers: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in numbers.items()
        if name != "step" and isinstance(value, int | float) and math.isfinite(value)
    }


def _tag(name: str) -> str:
    """Grouped as TensorBoard shows them: ``train/loss``, ``valid/loss``, ``learning_rate``."""
    group, _, rest = name.partition("_")
    return f"{group}/{rest}" if group in ("train", "valid", "rewards") else name
