"""Numbers for TensorBoard, and for services and functions that the operator names."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from finetune_engine.events import ListSink
from finetune_engine.ports import Run
from finetune_engine.train.local.callbacks.callback import Moment
from finetune_engine.train.local.callbacks.chosen import METRICS, REPORT_TO, callbacks_for
from finetune_engine.train.local.history import StepMetrics
from finetune_engine.train.spec import BaseFacts, TrainingSpec

EARLIER = [StepMetrics(1, 3.0, 0.1), StepMetrics(2, 2.5, 0.2, 2.6, 0.2)]


def moment(step: int, **numbers: float) -> Moment:
    return Moment(step, 10, {"step": step, **numbers}, "valid_loss" in numbers, 0, None)


def train(run: Run, out: Path, moments: Sequence[Moment], history: Sequence[StepMetrics] = ()) -> dict[str, float]:
    """Let all callbacks of a run see ``moments``; returns what they counted at the last one."""
    settled = TrainingSpec().effective(100, BaseFacts())
    crew = callbacks_for(run, settled, out, None, is_first=True)
    crew.started(settled.as_dict(), history)
    counted: dict[str, float] = {}
    for each in moments:
        counted = crew.numbers(each)
        crew.after_step(each)
    crew.ended()
    return counted


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return [(event.step, round(event.value, 4)) for event in found.Scalars(tag)]


def test_tensorboard_reads_every_step_that_was_written(run: Run, tmp_path: Path) -> None:
    train(run, tmp_path, [moment(1, train_loss=2.0), moment(2, train_loss=1.0, valid_loss=1.5)])
    assert scalars(tmp_path, "train/loss") == [(1, 2.0), (2, 1.0)]
    assert scalars(tmp_path, "valid/loss") == [(2, 1.5)]


def test_a_run_resumed_on_another_machine_writes_the_earlier_steps_again(run: Run, tmp_path: Path) -> None:
    train(run, tmp_path, [moment(3, train_loss=2.0)], EARLIER)
    assert scalars(tmp_path, "train/loss") == [(1, 3.0), (2, 2.5), (3, 2.0)]


def test_a_repeated_step_counts_once(run: Run, tmp_path: Path) -> None:
    train(run, tmp_path, [moment(1, train_loss=3.0), moment(2, train_loss=2.5), moment(3, train_loss=9.0)])
    train(run, tmp_path, [moment(3, train_loss=2.0)], EARLIER)
    assert scalars(tmp_path, "train/loss") == [(1, 3.0), (2, 2.5), (3, 2.0)]


class FakeWandb(types.ModuleType):
    """The calls of wandb that are used, remembered."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.opened: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, Any]]] = []
        self.id = "abc"

    def init(self, **settings: Any) -> FakeWandb:
        self.opened.append(settings)
        return self

    def log(self, numbers: dict[str, Any], *, step: int) -> None:
        self.logged.append((step, numbers))

    def finish(self) -> None:
        self.logged.append((-1, {}))


class FakeMlflow(types.ModuleType):
    """The calls of mlflow that are used, remembered."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.opened: list[str | None] = []
        self.params: dict[str, str] = {}
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.is_ended = False

    def set_experiment(self, name: str) -> None:
        assert name == "tunesmith"

    def start_run(self, *, run_id: str | None) -> Any:
        self.opened.append(run_id)
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="run-1"))

    def log_params(self, params: dict[str, str]) -> None:
        self.params = params

    def log_metrics(self, numbers: dict[str, float], *, step: int) -> None:
        self.logged.append((step, numbers))

    def end_run(self) -> None:
        self.is_ended = True


def test_weights_and_biases_gets_settings_and_numbers_and_a_resumed_run_goes_on_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setenv(REPORT_TO, "wandb")
    train(run, tmp_path, [moment(1, train_loss=2.0)])
    train(run, tmp_path, [moment(2, train_loss=1.0)], EARLIER[:1])
    assert wandb.opened[0]["config"]["r"] == 16
    assert [opened["id"] for opened in wandb.opened] == [None, "abc"]
    assert [step for step, _ in wandb.logged] == [1, -1, 2, -1]


def test_mlflow_gets_settings_and_numbers_and_a_resumed_run_goes_on_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = FakeMlflow()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setenv(REPORT_TO, "mlflow")
    train(run, tmp_path, [moment(1, train_loss=2.0, grad_norm=float("inf"))])
    train(run, tmp_path, [moment(2, train_loss=1.0)], EARLIER[:1])
    assert mlflow.params["r"] == "16"
    assert mlflow.opened == [None, "run-1"]
    assert [(step, numbers["train_loss"]) for step, numbers in mlflow.logged] == [(1, 2.0), (2, 1.0)]
    assert mlflow.is_ended


def test_a_service_whose_package_is_absent_is_a_warning(
    run: Run, sink: ListSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setenv(REPORT_TO, "wandb, comet")
    train(run, tmp_path, [moment(1, train_loss=2.0)])
    warned = [event.data["message"] for event in sink.events if event.kind == "warn"]
    assert len(warned) == 2
    assert "wandb was asked for" in warned[0]
    assert "'comet'" in warned[1]


def test_a_function_of_the_operator_counts_at_evaluations(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("house_metrics")
    module.gap = lambda moment: {"gap": moment.numbers["valid_loss"] - moment.numbers["train_loss"]}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "house_metrics", module)
    monkeypatch.setenv(METRICS, "house_metrics:gap")
    assert train(run, tmp_path, [moment(1, train_loss=1.0)]) == {}
    assert train(run, tmp_path, [moment(2, train_loss=1.0, valid_loss=1.5)]) == {"gap": 0.5}
