"""Callbacks are told and asked; one that fails costs itself and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from finetune_engine.events import ListSink
from finetune_engine.ports import Run
from finetune_engine.train.local.callbacks.callback import Callback, Crew, Moment
from finetune_engine.train.local.callbacks.early_stopping import EarlyStopping
from finetune_engine.train.local.history import StepMetrics


def moment(step: int = 5, *, stale: int = 0, is_evaluated: bool = True, total: int = 10, **numbers: float) -> Moment:
    return Moment(step, total, numbers, is_evaluated, stale, best_step=1)


class Broken(Callback):
    """Fails at its first step."""

    def __init__(self) -> None:
        self.asked = 0

    def after_step(self, moment: Moment) -> str | None:
        self.asked += 1
        raise OSError("the service is away")


class Faithful(Callback):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def started(self, settings: Mapping[str, Any], history: Sequence[StepMetrics]) -> None:
        self.told.append("started")

    def numbers(self, moment: Moment) -> Mapping[str, float]:
        return {"mine": 1.0, "train_loss": 99.0}

    def after_step(self, moment: Moment) -> str | None:
        self.told.append(f"step {moment.step}")
        return None

    def ended(self) -> None:
        self.told.append("ended")


def test_a_callback_that_fails_is_named_once_and_left_out(run: Run, sink: ListSink) -> None:
    broken, faithful = Broken(), Faithful()
    crew = Crew(run, [broken, faithful])
    for step in (1, 2):
        assert crew.after_step(moment(step)) is None
    assert broken.asked == 1
    assert faithful.told == ["step 1", "step 2"]
    assert [event.data["message"] for event in sink.events] == [
        "Broken failed and is left out from here on: the service is away"
    ]


def test_more_numbers_are_added_but_never_replace_those_of_training(run: Run) -> None:
    assert Crew(run, [Faithful()]).numbers(moment(train_loss=0.5)) == {"mine": 1.0}


@pytest.mark.parametrize(
    ("stale", "is_evaluated", "step", "reason"),
    [(2, True, 5, None), (3, True, 5, "early_stopping"), (3, False, 5, None), (3, True, 10, None)],
    ids=["patience is left", "patience is over", "not evaluated", "the last step anyway"],
)
def test_training_stops_early_only_when_an_evaluation_used_up_the_patience(
    run: Run, stale: int, is_evaluated: bool, step: int, reason: str | None
) -> None:
    crew = Crew(run, [EarlyStopping(run, 3)])
    assert crew.after_step(moment(step, stale=stale, is_evaluated=is_evaluated)) == reason
