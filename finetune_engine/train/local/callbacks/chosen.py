"""Which callbacks a run has: by its settings, by what is installed, and by the operator's environment."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

from finetune_engine.ports import Run
from finetune_engine.train.local.callbacks.callback import Callback, Crew
from finetune_engine.train.local.callbacks.custom_metrics import CustomMetrics
from finetune_engine.train.local.callbacks.early_stopping import EarlyStopping
from finetune_engine.train.local.callbacks.mlflow_tracking import MLflow
from finetune_engine.train.local.callbacks.samples import Samples
from finetune_engine.train.local.callbacks.tensorboard import FOLDER, TensorBoard
from finetune_engine.train.local.callbacks.weights_and_biases import WeightsAndBiases
from finetune_engine.train.spec import EffectiveSpec

REPORT_TO, METRICS = "TUNESMITH_REPORT_TO", "TUNESMITH_METRICS"
REPORTERS: dict[str, Callable[[Path], Callback]] = {"wandb": WeightsAndBiases, "mlflow": MLflow}


def callbacks_for(run: Run, settled: EffectiveSpec, out: Path, samples: Samples | None, *, is_first: bool) -> Crew:
    """The callbacks of one process. Of several that train together only the first shows, writes and reports.

    What the operator asked for in vain (``TUNESMITH_REPORT_TO=wandb,mlflow``, ``TUNESMITH_METRICS=module:function``)
    is a warning.
    """
    crew = Crew(run)
    if patience := settled.asked.early_stopping_patience:
        crew.members.append(EarlyStopping(run, patience))
    if not is_first:
        return crew
    for place in _names(METRICS):
        _add(crew, run, place, lambda place=place: CustomMetrics(place))  # type: ignore[misc]
    if importlib.util.find_spec("tensorboard") is not None:
        crew.members.append(TensorBoard(out / FOLDER))
    for name in _names(REPORT_TO):
        reporter = REPORTERS.get(name)
        if reporter is None:
            message = f"{REPORT_TO} names {name!r}, which is not one of {', '.join(sorted(REPORTERS))}."
            run.emit("warn", code="callback_failed", message=message)
            continue
        _add(crew, run, name, lambda reporter=reporter: reporter(out))  # type: ignore[misc]
    if samples is not None:
        crew.members.append(samples)
    return crew


def _names(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _add(crew: Crew, run: Run, name: str, make: Callable[[], Callback]) -> None:
    try:
        crew.members.append(make())
    except Exception as problem:  # a front door: an absent package or a broken module must not end the training
        message = f"{name} was asked for but cannot be used here: {problem}"
        run.emit("warn", code="callback_failed", message=message[:500])
