"""Whole trainings of a tiny model on this machine."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError, UserError
from finetune_engine.events import ListSink
from finetune_engine.ports import Action, Run, Stopped
from finetune_engine.train.backends.local_peft import run_training
from finetune_engine.train.local.checkpoints import newest_valid
from finetune_engine.train.local.commit import verify_folder
from finetune_engine.train.local.load import attach_adapter, load_base
from finetune_engine.train.preflight import Facts
from finetune_engine.train.spec import RunSpec
from tests.finetune_engine.conftest import Script, WriteSnapshot

SETTINGS = {
    "num_train_epochs": 3,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "learning_rate": 5e-3,
    "lora_dropout": 0.1,
    "r": 4,
    "eval_steps": 3,
    "save_steps": 3,
    "early_stopping_patience": 0,
}


def make_spec(model: Path, snapshot: Path, *, resume_from: Path | None = None, **settings: Any) -> RunSpec:
    return RunSpec.from_dict(
        {
            "base_model": {"key": "tiny", "path": str(model)},
            "snapshot": {"path": str(snapshot), "sha256": None},
            "training": SETTINGS | settings,
            "resume_from": str(resume_from) if resume_from else None,
            "threads": 1,
        }
    )


def told(sink: ListSink, kind: str) -> list[dict[str, Any]]:
    return [event.data for event in sink.events if event.kind == kind]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "artefact" / "adapter_model.safetensors")


def test_a_training_learns_and_leaves_a_verified_artefact(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, sink: ListSink
) -> None:
    run_training(run, make_spec(tiny_model, write_snapshot(48, 8)), tmp_path)
    result = told(sink, "result")[0]
    metrics = told(sink, "metric")
    assert result["manifest_sha256"] == verify_folder(tmp_path / "artefact")
    assert [row["step"] for row in metrics] == list(range(1, 37))
    assert result["valid_loss"] < metrics[0]["train_loss"] / 2
    names = {path.name for path in (tmp_path / "artefact").iterdir()}
    assert {
        "adapter_model.safetensors",
        "adapter_config.json",
        "chat_template.jinja",
        "run.json",
        "metrics.csv",
    } <= names
    phases = [data["phase"] for data in told(sink, "phase")]
    assert phases == ["validating", "loading model", "preparing data", "training", "saving"]


def test_the_artefact_can_be_put_on_its_base_and_answers_as_trained(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, sink: ListSink
) -> None:
    run_training(run, make_spec(tiny_model, write_snapshot()), tmp_path)
    tuned = attach_adapter(load_base(BaseModelRef(key="tiny", path=str(tiny_model))), tmp_path / "artefact")
    from finetune_engine.train.local.encode import encode_chat
    from finetune_engine.train.local.examples import read_snapshot
    from finetune_engine.train.local.forward import judge
    from finetune_engine.train.spec import SnapshotRef

    rows = [
        encode_chat(tuned, messages)
        for split, _, messages in read_snapshot(SnapshotRef(str(tmp_path / "snapshot.parquet")))
        if split == "validation"
    ]
    found = judge(tuned.activate(), rows, tokens=512, flat=False, pad_id=1, dtype=torch.float32)
    assert found.loss == pytest.approx(told(sink, "result")[0]["valid_loss"], rel=1e-4)


@pytest.mark.parametrize("stop_after", [1, 4, 9])
@pytest.mark.parametrize("settings", [{}, {"packing": False}, {"peft": "full", "learning_rate": 1e-3}], ids=str)
def test_a_paused_and_resumed_run_ends_bitwise_equal_to_the_unbroken_one(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, stop_after: int, settings: dict[str, Any]
) -> None:
    snapshot = write_snapshot()
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    run_training(run, make_spec(tiny_model, snapshot, **settings), whole)
    # Two questions come before the loop, and one between evaluation batches.
    halted = ListSink()
    with pytest.raises(Stopped, match="pause"):
        run_training(
            Run(halted, stop=Script(2 + stop_after, "pause")), make_spec(tiny_model, snapshot, **settings), broken
        )
    resumed = ListSink()
    spec = make_spec(tiny_model, snapshot, resume_from=broken / told(halted, "checkpoint")[-1]["path"], **settings)
    run_training(Run(resumed), spec, broken)
    name = "model.safetensors" if settings.get("peft") == "full" else "adapter_model.safetensors"
    one, two = (load_file(folder / "artefact" / name) for folder in (whole, broken))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert (whole / "artefact/metrics.csv").read_text() == (broken / "artefact/metrics.csv").read_text()
    steps = [row["step"] for sink in (halted, resumed) for row in told(sink, "metric")]
    assert steps == list(range(1, len(steps) + 1))


def test_a_run_killed_between_checkpoints_repeats_to_the_same_end(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run
) -> None:
    snapshot = write_snapshot()
    whole, broken, elsewhere = (tmp_path / name for name in ("whole", "broken", "elsewhere"))
    for folder in (whole, broken, elsewhere):
        folder.mkdir()
    run_training(run, make_spec(tiny_model, snapshot), whole)
    with pytest.raises(Stopped, match="cancel"):
        run_training(Run(ListSink(), stop=Script(12, "cancel")), make_spec(tiny_model, snapshot), broken)
    newest = newest_valid(broken / "checkpoints")
    assert newest is not None
    run_training(Run(ListSink()), make_spec(tiny_model, snapshot, resume_from=newest), elsewhere)
    one, two = weights(whole), weights(elsewhere)
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run
) -> None:
    snapshot = write_snapshot()
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    run_training(run, make_spec(tiny_model, snapshot), whole)
    with pytest.raises(Stopped):
        run_training(Run(ListSink(), stop=Script(14, "cancel")), make_spec(tiny_model, snapshot), broken)
    newest = sorted((broken / "checkpoints").glob("step-*"))[-1]
    (newest / "optimizer.safetensors").write_bytes(b"cut")
    sink = ListSink()
    run_training(Run(sink), make_spec(tiny_model, snapshot, resume_from=newest), broken)
    assert told(sink, "metric")[0]["step"] <= int(newest.name.removeprefix("step-"))
    one, two = weights(whole), weights(broken)
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_checkpoint_of_another_run_is_refused(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run
) -> None:
    run_training(run, make_spec(tiny_model, write_snapshot()), tmp_path)
    spec = make_spec(tiny_model, write_snapshot(), resume_from=tmp_path / "checkpoints", r=8)
    with pytest.raises(EngineError, match="another run") as caught:
        run_training(run, spec, tmp_path)
    assert caught.value.reason == "bad_config"


def test_stop_and_keep_ends_with_what_was_learnt(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, sink: ListSink
) -> None:
    action: Action = "stop_and_keep"
    run_training(Run(sink, stop=Script(7, action)), make_spec(tiny_model, write_snapshot()), tmp_path)
    result = told(sink, "result")[0]
    assert result["stopped_early"]
    assert result["reason"] == "stopped"
    assert result["steps"] < 18
    assert result["valid_loss"] is not None
    assert verify_folder(tmp_path / "artefact") is not None


def test_no_gain_ends_the_run_early_with_the_best_weights(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, sink: ListSink
) -> None:
    pairs = [(f"question {i}", "yes" if i < 24 else "no, never at all") for i in range(32)]
    spec = make_spec(
        tiny_model, write_snapshot(24, 8, pairs), num_train_epochs=20, eval_steps=2, early_stopping_patience=2
    )
    run_training(run, spec, tmp_path)
    result = told(sink, "result")[0]
    assert result["reason"] == "early_stopping"
    losses = {row["step"]: row["valid_loss"] for row in told(sink, "metric") if "valid_loss" in row}
    assert result["best_step"] == min(losses, key=lambda step: losses[step]) < result["steps"]
    assert result["valid_loss"] == losses[result["best_step"]]


def test_three_losses_that_are_not_numbers_are_a_divergence_and_shown(
    tiny_model: Path,
    write_snapshot: WriteSnapshot,
    tmp_path: Path,
    run: Run,
    sink: ListSink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from finetune_engine.train.local.objectives import sft

    original, calls = sft.batch_loss, iter(range(1000))

    def spoiled(*args: Any) -> Any:
        loss, right = original(*args)
        return (loss * float("nan"), right) if next(calls) >= 4 else (loss, right)

    monkeypatch.setattr(sft, "batch_loss", spoiled)
    with pytest.raises(EngineError) as caught:
        run_training(run, make_spec(tiny_model, write_snapshot()), tmp_path)
    assert caught.value.reason == "diverged"
    assert caught.value.details["last_checkpoint"] == "checkpoints/step-00000003"
    assert [math.isnan(row["train_loss"]) for row in told(sink, "metric")] == [False] * 4 + [True] * 3


def test_one_bad_step_changes_nothing_and_is_survived(
    tiny_model: Path,
    write_snapshot: WriteSnapshot,
    tmp_path: Path,
    run: Run,
    sink: ListSink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from finetune_engine.train.local.objectives import sft

    original, calls = sft.batch_loss, iter(range(1000))

    def spoiled(*args: Any) -> Any:
        loss, right = original(*args)
        return (loss * float("inf"), right) if next(calls) == 2 else (loss, right)

    monkeypatch.setattr(sft, "batch_loss", spoiled)
    run_training(run, make_spec(tiny_model, write_snapshot()), tmp_path)
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_the_gradient_does_not_depend_on_how_a_step_is_split(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    found = []
    for rows, accumulation in ((4, 1), (1, 4)):
        out, sink = tmp_path / str(rows), ListSink()
        out.mkdir()
        settings = {
            "lora_dropout": 0.0,
            "per_device_train_batch_size": rows,
            "gradient_accumulation_steps": accumulation,
        }
        spec = make_spec(tiny_model, write_snapshot(), max_length=48, num_train_epochs=1, **settings)
        run_training(Run(sink), spec, out)
        found.append([row["train_loss"] for row in told(sink, "metric")])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize("kind", ["rslora", "dora", "full"])
def test_other_kinds_of_training_end_with_an_artefact_that_loads(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, kind: str
) -> None:
    spec = make_spec(tiny_model, write_snapshot(), peft=kind, learning_rate=1e-3, num_train_epochs=1)
    run_training(run, spec, tmp_path)
    base = load_base(BaseModelRef(key="tiny", path=str(tiny_model)))
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = base.activate()(ids).logits
        after = attach_adapter(base, tmp_path / "artefact").activate()(ids).logits
    assert not torch.allclose(before, after)


def test_modules_that_do_not_exist_are_answered_with_those_that_do(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run
) -> None:
    with pytest.raises(UserError, match="q_proj") as caught:
        run_training(run, make_spec(tiny_model, write_snapshot(), target_modules=["query"]), tmp_path)
    assert caught.value.field == "target_modules"


def test_a_snapshot_that_is_not_the_frozen_one_is_refused(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run
) -> None:
    snapshot = write_snapshot()
    snapshot.with_name("manifest.json").write_text(json.dumps({"sha256": "a" * 64}))
    spec = RunSpec.from_dict(
        {"base_model": {"path": str(tiny_model)}, "snapshot": {"path": str(snapshot), "sha256": "b" * 64}}
    )
    with pytest.raises(UserError) as caught:
        run_training(run, spec, tmp_path)
    assert caught.value.code == "snapshot_changed"


def test_answers_that_never_fit_are_left_out_with_a_word(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, sink: ListSink
) -> None:
    pairs = [("short", "yes")] * 10 + [("long", "no " * 60)] * 2 + [("check", "yes")] * 2
    run_training(run, make_spec(tiny_model, write_snapshot(12, 2, pairs), max_length=64, num_train_epochs=1), tmp_path)
    assert [(data["split"], data["count"]) for data in told(sink, "warn") if "split" in data] == [("train", 2)]


def test_a_run_without_validation_rows_keeps_its_last_weights(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, sink: ListSink
) -> None:
    run_training(run, make_spec(tiny_model, write_snapshot(12, 0), num_train_epochs=1), tmp_path)
    result = told(sink, "result")[0]
    assert (result["best_step"], result["valid_loss"]) == (3, None)


def test_the_record_is_frozen_beside_the_result(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run
) -> None:
    run_training(run, make_spec(tiny_model, write_snapshot()), tmp_path)
    record = json.loads((tmp_path / "artefact" / "run.json").read_text())
    assert record["snapshot"]["counts"] == {"train": 24, "validation": 6}
    assert record["training"]["total_steps"] == 18
    assert record["training_asked"]["warmup_steps"] == 100
    assert record["template_sha256"]
    assert record["base_model"]["sha256"]
    assert record["versions"]["torch"]
    assert str(tiny_model) not in json.dumps(record) + (tmp_path / "artefact" / "adapter_config.json").read_text()


def test_the_metrics_file_has_the_columns_of_the_public_interface(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run
) -> None:
    run_training(run, make_spec(tiny_model, write_snapshot(), num_train_epochs=1), tmp_path)
    with (tmp_path / "artefact" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    assert len(rows) == 6
    assert rows[-1]["valid_loss"]


def test_only_the_newest_checkpoints_and_the_best_are_kept(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, sink: ListSink
) -> None:
    run_training(run, make_spec(tiny_model, write_snapshot(), save_steps=1), tmp_path)
    kept = sorted((tmp_path / "checkpoints").iterdir())
    assert len(told(sink, "checkpoint")) == 18
    assert len(kept) <= 3
    assert all(verify_folder(path) is not None for path in kept)
    best = [data["path"] for data in told(sink, "checkpoint") if data["is_best"]][-1]
    assert (tmp_path / best).exists()


def test_a_full_disk_at_a_checkpoint_ends_with_its_reason_and_no_scraps(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune_engine.train.local import checkpoints

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_history", full)
    with pytest.raises(EngineError) as caught:
        run_training(run, make_spec(tiny_model, write_snapshot()), tmp_path)
    assert caught.value.reason == "disk_full"
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_resumed_run_counts_the_room_of_its_own_checkpoints_as_free(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune_engine.train.backends import local_peft

    run_training(run, make_spec(tiny_model, write_snapshot()), tmp_path)
    held = sum(path.stat().st_size for path in (tmp_path / "checkpoints").rglob("*") if path.is_file())
    heard: list[Facts] = []
    monkeypatch.setattr(local_peft, "heed", lambda run, spec, facts: heard.append(facts))
    monkeypatch.setattr(local_peft.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    spec = make_spec(tiny_model, write_snapshot(), resume_from=tmp_path / "checkpoints")
    run_training(run, spec, tmp_path)
    assert heard[0].disk_free == 1000 + held > 1000


def test_a_real_model_learns_to_answer_and_to_stop(
    stories: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, sink: ListSink
) -> None:
    pairs = [(f"The dog number {i} is {'happy' if i % 2 else 'sad'}.", "good" if i % 2 else "bad") for i in range(72)]
    spec = make_spec(stories, write_snapshot(64, 8, pairs), num_train_epochs=4, learning_rate="auto", r=16)
    run_training(run, spec, tmp_path)
    answers = [(data["answer"], data["reference"]) for data in told(sink, "sample")[-3:]]  # those after training
    assert len(answers) == 3
    assert all(answer == reference for answer, reference in answers)


def test_a_model_folder_that_moves_away_ends_as_the_persons_matter(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run
) -> None:
    copy = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    shutil.rmtree(copy)
    with pytest.raises(UserError) as caught:
        run_training(run, make_spec(copy, write_snapshot()), tmp_path)
    assert caught.value.code == "model_missing"
