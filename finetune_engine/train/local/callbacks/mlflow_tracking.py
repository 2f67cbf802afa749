"""Numbers and settings to an MLflow server, where the operator wants it (their MLFLOW_* variables say where to)."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune_engine.train.local.callbacks.callback import Callback, Moment
from finetune_engine.train.local.history import StepMetrics

LONGEST_VALUE = 500


class MLflow(Callback):
    """One run there for each training here. Examples and answers are not sent."""

    def __init__(self, folder: Path) -> None:
        self._mlflow: Any = importlib.import_module("mlflow")
        self._folder = folder
        self._is_open = False

    def started(self, settings: Mapping[str, Any], history: Sequence[StepMetrics]) -> None:
        """Open the run; a resumed training goes on in it."""
        self._mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "tunesmith"))
        mark = self._folder / "mlflow-run-id"
        known = mark.read_text(encoding="utf-8").strip() if mark.exists() else None
        run = self._mlflow.start_run(run_id=known)
        self._is_open = True
        if known is None:
            mark.write_text(str(run.info.run_id), encoding="utf-8")
            self._mlflow.log_params({name: str(value)[:LONGEST_VALUE] for name, value in settings.items()})

    def after_step(self, moment: Moment) -> None:
        """Send the step's numbers."""
        numbers = {
            name: float(value)
            for name, value in moment.numbers.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        self._mlflow.log_metrics(numbers, step=moment.step)

    def ended(self) -> None:
        """Close the run."""
        if self._is_open:
            self._mlflow.end_run()
