"""What a training shows while it runs, and what it survives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from finetune_engine.errors import EngineError
from finetune_engine.events import ListSink
from finetune_engine.ports import Run, Stopped
from finetune_engine.train.backends.local_peft import run_training
from finetune_engine.train.local import loop
from finetune_engine.train.local.objectives import sft
from finetune_engine.train.spec import RunSpec
from tests.finetune_engine.conftest import WriteSnapshot

SETTINGS = {
    "num_train_epochs": 1,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "learning_rate": 5e-3,
    "r": 4,
    "eval_steps": 2,
    "save_steps": 2,
    "early_stopping_patience": 0,
}


def make_spec(model: Path, snapshot: Path, *, resume_from: Path | None = None, **settings: Any) -> RunSpec:
    return RunSpec.from_dict(
        {
            "base_model": {"key": "tiny", "path": str(model)},
            "snapshot": {"path": str(snapshot)},
            "training": SETTINGS | settings,
            "resume_from": str(resume_from) if resume_from else None,
            "threads": 1,
        }
    )


def told(sink: ListSink, kind: str) -> list[dict[str, Any]]:
    return [event.data for event in sink.events if event.kind == kind]


def test_samples_come_with_evaluations_and_change_nothing(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune_engine.train.local.callbacks import samples

    weights, shown = [], []
    for share in (1e6, 0.0):
        monkeypatch.setattr(samples, "TIME_SHARE", share)
        sink, out = ListSink(), tmp_path / str(share)
        out.mkdir()
        run_training(Run(sink), make_spec(tiny_model, write_snapshot()), out)
        shown.append([data["step"] for data in told(sink, "sample")])
        weights.append(load_file(out / "artefact" / "adapter_model.safetensors"))
    best = shown[1][0]
    assert shown[0] == [step for step in (1, 2, 3, 4, 5, best) for _ in range(3)]
    assert shown[1] == [best] * 3
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_every_step_tells_memory_and_place_in_the_data(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, sink: ListSink
) -> None:
    run_training(run, make_spec(tiny_model, write_snapshot()), tmp_path)
    metrics = told(sink, "metric")
    assert all(row["memory_bytes"] > 50_000_000 for row in metrics)
    assert [row["epoch"] for row in metrics] == [round(step / 6, 4) for step in range(1, 7)]


def test_full_memory_in_training_and_evaluation_is_survived_with_the_same_result(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = []
    for limit in (10_000, 150):
        sink, out = ListSink(), tmp_path / str(limit)
        out.mkdir()
        original = sft.collate

        def tight(examples: Any, *, limit: int = limit, original: Any = original, **layout: Any) -> Any:
            if sum(len(example.input_ids) for example in examples) > limit:
                raise RuntimeError("DefaultCPUAllocator: not enough memory")
            return original(examples, **layout)

        with monkeypatch.context() as patched:
            patched.setattr(sft, "collate", tight)
            spec = make_spec(tiny_model, write_snapshot(), lora_dropout=0.0, per_device_train_batch_size=4)
            run_training(Run(sink), spec, out)
        losses.append([row["train_loss"] for row in told(sink, "metric")])
        assert any(data.get("code") == "oom_host" for data in told(sink, "warn")) == (limit == 150)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_what_did_not_fit_once_is_not_tried_again_at_every_step(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, sink: ListSink, monkeypatch: Any
) -> None:
    original = sft.collate

    def tight(examples: Any, **layout: Any) -> Any:
        if sum(len(example.input_ids) for example in examples) > 150:
            raise RuntimeError("DefaultCPUAllocator: not enough memory")
        return original(examples, **layout)

    monkeypatch.setattr(sft, "collate", tight)
    run_training(run, make_spec(tiny_model, write_snapshot(24, 0), per_device_train_batch_size=4), tmp_path)
    kinds = [event.data.get("code") if event.kind == "warn" else event.kind for event in sink.events]
    first = kinds.index("metric")
    assert "oom_host" in kinds[:first]
    assert "oom_host" not in kinds[first:]


def test_answers_that_cannot_be_shown_at_the_end_do_not_cost_the_model(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, sink: ListSink, monkeypatch: Any
) -> None:
    from finetune_engine.train.local.callbacks import samples

    def full(*args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(samples, "generate_batch", full)
    run_training(run, make_spec(tiny_model, write_snapshot()), tmp_path)
    assert told(sink, "result")
    assert any("Samples failed" in data["message"] for data in told(sink, "warn"))


def test_memory_too_small_for_one_row_ends_with_its_reason(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **layout: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(sft, "collate", full)
    with pytest.raises(EngineError) as caught:
        run_training(run, make_spec(tiny_model, write_snapshot()), tmp_path)
    assert caught.value.reason == "oom_host"


def test_a_run_that_was_over_when_it_was_lost_takes_no_further_step(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, sink: ListSink, monkeypatch: Any
) -> None:
    pairs = [(f"question {i}", "yes" if i < 24 else "no, never at all") for i in range(32)]
    settings = {"num_train_epochs": 20, "early_stopping_patience": 2, "save_steps": 1}
    snapshot = write_snapshot(24, 8, pairs)

    def lost(*args: Any) -> None:
        raise Stopped("cancel")

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_finish", lost)
        with pytest.raises(Stopped):
            run_training(run, make_spec(tiny_model, snapshot, **settings), tmp_path)
    last = told(sink, "metric")[-1]["step"]
    resumed = ListSink()
    run_training(
        Run(resumed), make_spec(tiny_model, snapshot, resume_from=tmp_path / "checkpoints", **settings), tmp_path
    )
    assert told(resumed, "metric") == []
    result = told(resumed, "result")[0]
    assert (result["steps"], result["reason"]) == (last, "early_stopping")
