"""Numbers and settings to Weights & Biases, where the operator wants it (their WANDB_* variables say where to)."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune_engine.train.local.callbacks.callback import Callback, Moment
from finetune_engine.train.local.history import StepMetrics


class WeightsAndBiases(Callback):
    """One run there for each training here. Examples and answers are not sent."""

    def __init__(self, folder: Path) -> None:
        self._wandb: Any = importlib.import_module("wandb")
        self._folder = folder
        self._run: Any = None

    def started(self, settings: Mapping[str, Any], history: Sequence[StepMetrics]) -> None:
        """Open the run; a resumed training goes on in it."""
        mark = self._folder / "wandb-run-id"
        known = mark.read_text(encoding="utf-8").strip() if mark.exists() else None
        project = os.environ.get("WANDB_PROJECT", "tunesmith")
        self._run = self._wandb.init(
            project=project, dir=str(self._folder), id=known, resume="allow", config=dict(settings)
        )
        mark.write_text(str(self._run.id), encoding="utf-8")

    def after_step(self, moment: Moment) -> None:
        """Send the step's numbers (their library does so in the background)."""
        self._run.log(dict(moment.numbers), step=moment.step)

    def ended(self) -> None:
        """Close the run."""
        if self._run is not None:
            self._run.finish()
