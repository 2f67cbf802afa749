"""Samples while training, within their share of its time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.events import ListSink
from finetune_engine.generate import generate_batch
from finetune_engine.ports import Run
from finetune_engine.train.local.callbacks import samples as samples_module
from finetune_engine.train.local.callbacks.callback import Moment
from finetune_engine.train.local.callbacks.samples import Samples
from finetune_engine.train.local.load import load_base

CONVERSATION = [{"role": "user", "content": "the rent"}, {"role": "assistant", "content": "rent"}]


class CountingClock:
    """Every look costs a second."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> float:
        return self.passed

    def monotonic(self) -> float:
        self.passed += 1.0
        return self.passed


def evaluated(step: int) -> Moment:
    return Moment(step, 100, {}, True, 0, None)


def test_an_answer_is_cut_when_a_twentieth_of_the_time_is_used_and_the_next_waits(tiny_model: Path) -> None:
    sink, clock = ListSink(), CountingClock()
    loaded = load_base(BaseModelRef(key="tiny", path=str(tiny_model)))
    samples = Samples(Run(sink, clock=clock), loaded, loaded.model, [CONVERSATION])
    samples.started({}, [])
    clock.passed += 200
    began = clock.passed
    samples.after_step(evaluated(1))
    assert clock.passed - began < 15
    (first,) = [event.data for event in sink.events]
    assert (first["step"], first["prompt"], first["reference"]) == (1, "the rent", "rent")
    assert first["answer"].endswith("\u2026")
    samples.after_step(evaluated(2))
    assert len(sink.events) == 1
    clock.passed += 200
    samples.after_step(evaluated(3))
    assert [event.data["step"] for event in sink.events] == [1, 3]


def test_a_question_that_was_cut_for_training_is_cut_for_its_sample(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def watched(loaded: Any, prompts: Any, **settings: Any) -> list[Any]:
        asked.extend(len(prompt) for prompt in prompts)
        return generate_batch(loaded, prompts, **settings)

    monkeypatch.setattr(samples_module, "generate_batch", watched)
    loaded = load_base(BaseModelRef(key="tiny", path=str(tiny_model)))
    long = [{"role": "user", "content": "x" * 5000}, {"role": "assistant", "content": "rent"}]
    Samples(Run(ListSink()), loaded, loaded.model, [long], max_length=40).show(1)
    assert asked == [40]


def test_the_mode_of_the_model_is_left_as_it_was(tiny_model: Path) -> None:
    loaded = load_base(BaseModelRef(key="tiny", path=str(tiny_model)))
    loaded.model.train()
    Samples(Run(ListSink()), loaded, loaded.model, [CONVERSATION]).show(1)
    assert loaded.model.training
