"""Measuring a machine before a training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune_engine.errors import UserError
from finetune_engine.events import ListSink
from finetune_engine.ports import Run, Stopped
from finetune_engine.train.local.measure import measure
from finetune_engine.train.local.objectives.sft import Supervised
from finetune_engine.train.spec import RunSpec
from tests.finetune_engine.conftest import Script, WriteSnapshot

MakeSpec = Callable[..., RunSpec]


@pytest.fixture
def make_spec(tiny_model: Path, write_snapshot: WriteSnapshot) -> MakeSpec:
    """Rows of very different lengths: the longest has 91 tokens more than the shortest."""
    pairs = [("why " + "x" * (i * 4), "yes") for i in range(24)] + [("what", "no")] * 4

    def make(**settings: Any) -> RunSpec:
        asked = {"per_device_train_batch_size": 4, "per_device_eval_batch_size": 4, "max_length": 128} | settings
        return RunSpec.from_dict(
            {
                "base_model": {"key": "tiny", "path": str(tiny_model)},
                "snapshot": {"path": str(write_snapshot(24, 4, pairs)), "sha256": None},
                "training": asked,
                "threads": 1,
            }
        )

    return make


def only_up_to(monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
    """A machine whose memory holds so many tokens at once."""
    honest = Supervised.add_gradients

    def limited(self: Supervised, lesson: Any, rows: Any, *, budget: int, backward: Any) -> Any:
        if min(budget, sum(len(row.input_ids) for row in rows)) > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return honest(self, lesson, rows, budget=budget, backward=backward)

    monkeypatch.setattr(Supervised, "add_gradients", limited)


@pytest.mark.parametrize("method", [{}, {"packing": False}], ids=["flat", "padded"])
def test_steps_a_check_and_answers_are_measured(make_spec: MakeSpec, run: Run, method: dict[str, Any]) -> None:
    found = measure(run, make_spec(**method), started=run.clock.monotonic())
    assert found.fits
    assert found.problem is None
    assert found.longest_tokens == 1 + len("User: why \nAnswer:\nyes") + 92 + 1
    assert found.batch_tokens == 4 * 128
    for value in (
        found.tokens_per_second,
        found.step_seconds,
        found.seconds_to_first_step,
        found.evaluate_seconds,
        found.answer_tokens_per_second,
        found.load_seconds,
    ):
        assert value is not None
        assert value > 0
    assert found.peak_bytes_train is not None
    assert found.peak_bytes_train > 50_000_000


def test_memory_that_does_not_suffice_is_a_result_with_what_did_fit(
    make_spec: MakeSpec, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_up_to(monkeypatch, 250)
    found = measure(run, make_spec(), started=run.clock.monotonic())
    assert not found.fits
    assert found.problem is not None
    assert "memory is too small" in found.problem
    assert found.longest_tokens <= found.batch_tokens <= 250
    assert found.tokens_per_second is not None


def test_a_machine_that_cannot_hold_one_row_says_so(
    make_spec: MakeSpec, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_up_to(monkeypatch, 50)
    found = measure(run, make_spec(), started=run.clock.monotonic())
    assert (found.fits, found.batch_tokens, found.tokens_per_second) == (False, 0, None)


def test_a_failure_that_is_not_about_memory_is_one(
    make_spec: MakeSpec, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(Supervised, "add_gradients", broken)
    with pytest.raises(RuntimeError, match="gone"):
        measure(run, make_spec(), started=0.0)


def test_a_test_run_can_be_cancelled(make_spec: MakeSpec, sink: ListSink) -> None:
    with pytest.raises(Stopped):
        measure(Run(sink, stop=Script(4, "cancel")), make_spec(), started=0.0)


def test_data_without_examples_is_the_persons_matter(tiny_model: Path, write_snapshot: WriteSnapshot, run: Run) -> None:
    raw = {"base_model": {"path": str(tiny_model)}, "snapshot": {"path": str(write_snapshot(0, 4))}}
    with pytest.raises(UserError) as caught:
        measure(run, RunSpec.from_dict(raw), started=0.0)
    assert caught.value.code == "no_examples"


def test_the_command_writes_its_result_and_speaks_the_protocol(
    make_spec: MakeSpec, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from finetune_engine.train import probe

    class Arguments:
        spec, out, started = tmp_path / "spec.json", tmp_path, 0.0

    made = make_spec()
    raw = {"base_model": made.base_model, "snapshot": {"path": made.snapshot.path}, "threads": 1}
    Arguments.spec.write_text(json.dumps(raw))
    sink = ListSink()
    probe.run_command(Arguments(), Run(sink))  # type: ignore[arg-type]
    told = next(event.data for event in sink.events if event.kind == "result")
    written = json.loads((tmp_path / "probe.json").read_text())
    assert {key: told[key] for key in written} == written
    assert {"tokens_per_second", "seconds_to_first_step", "peak_bytes_train", "peak_bytes_evaluate"} <= written.keys()
    phases = [event.data["phase"] for event in sink.events if event.kind == "phase"]
    assert phases == ["validating", "loading model", "preparing data", "measuring training", "measuring evaluation"]
