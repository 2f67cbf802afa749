"""Whole trainings from pairs of answers and from verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file

from finetune_engine.errors import UserError
from finetune_engine.events import ListSink
from finetune_engine.ports import Run, Stopped
from finetune_engine.train.backends.local_peft import run_training
from finetune_engine.train.spec import RunSpec
from tests.finetune_engine.conftest import Script

WORDS = ["rent", "notice", "law", "tax"]
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
WritePreferences = Callable[..., Path]


@pytest.fixture
def write_preferences(tmp_path: Path) -> WritePreferences:
    """Writes a snapshot of 24 rows to learn from and 6 to check with: pairs, or judged answers."""

    def write(method: str) -> Path:
        rows = []
        for number in range(30):
            good, bad = WORDS[number % 4], WORDS[(number + 1) % 4]
            wanted = number % 2 == 0
            answer = good if method == "dpo" or wanted else bad
            asked = {"role": "user", "content": f"the {good} clause {number}"}
            worse = json.dumps([{"role": "assistant", "content": bad}]) if method == "dpo" else None
            rows.append(
                {
                    "row": number + 1,
                    "split": "train" if number < 24 else "validation",
                    "messages": json.dumps([asked, {"role": "assistant", "content": answer}]),
                    "rejected": worse,
                    "desirable": None if method == "dpo" else wanted,
                }
            )
        path = tmp_path / f"{method}.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path

    return write


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


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_the_model_comes_to_prefer_what_people_prefer(
    tiny_model: Path, write_preferences: WritePreferences, tmp_path: Path, run: Run, sink: ListSink, method: str
) -> None:
    spec = make_spec(tiny_model, write_preferences(method), method=method, num_train_epochs=6)
    run_training(run, spec, tmp_path)
    metrics = told(sink, "metric")
    evaluated = [row for row in metrics if "valid_loss" in row]
    assert evaluated[-1]["valid_loss"] < evaluated[0]["valid_loss"]
    assert evaluated[-1]["valid_rewards_accuracy"] > 0.6
    assert metrics[-1]["rewards_margin"] > 0.05
    assert (tmp_path / "artefact" / "adapter_model.safetensors").exists()


def test_before_the_first_step_a_model_is_its_own_reference(
    tiny_model: Path, write_preferences: WritePreferences, tmp_path: Path, run: Run, sink: ListSink
) -> None:
    spec = make_spec(tiny_model, write_preferences("dpo"), method="dpo", lora_dropout=0)
    run_training(run, spec, tmp_path)
    first = told(sink, "metric")[0]
    assert first["train_loss"] == pytest.approx(0.693147, abs=1e-5)
    assert first["rewards_margin"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("settings", [{"method": "dpo"}, {"method": "kto"}, {"method": "dpo", "peft": "full"}], ids=str)
def test_a_paused_and_resumed_run_ends_bitwise_equal_to_the_unbroken_one(
    tiny_model: Path, write_preferences: WritePreferences, tmp_path: Path, settings: dict[str, Any]
) -> None:
    snapshot = write_preferences(settings["method"])
    settings = settings | ({"learning_rate": 1e-4} if settings.get("peft") == "full" else {})
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    counted = Script(10_000, "go")
    run_training(Run(ListSink(), stop=counted), make_spec(tiny_model, snapshot, **settings), whole)
    halted = ListSink()
    stop = Script(counted.asked - 7, "pause")
    with pytest.raises(Stopped, match="pause"):
        run_training(Run(halted, stop=stop), make_spec(tiny_model, snapshot, **settings), broken)
    kept = broken / told(halted, "checkpoint")[-1]["path"]
    run_training(Run(ListSink()), make_spec(tiny_model, snapshot, resume_from=kept, **settings), broken)
    name = "model.safetensors" if settings.get("peft") == "full" else "adapter_model.safetensors"
    one, two = (load_file(folder / "artefact" / name) for folder in (whole, broken))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert (whole / "artefact/metrics.csv").read_text() == (broken / "artefact/metrics.csv").read_text()


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_the_gradient_does_not_depend_on_layout_or_on_how_a_step_is_split(
    tiny_model: Path, write_preferences: WritePreferences, tmp_path: Path, method: str
) -> None:
    found = []
    for number, (rows, accumulation, packing) in enumerate(((4, 1, True), (1, 4, True), (2, 2, False))):
        out, sink = tmp_path / str(number), ListSink()
        out.mkdir()
        settings = {
            "method": method,
            "lora_dropout": 0.0,
            "per_device_train_batch_size": rows,
            "gradient_accumulation_steps": accumulation,
            "packing": packing,
            "max_length": 48,
            "num_train_epochs": 1,
        }
        run_training(Run(sink), make_spec(tiny_model, write_preferences(method), **settings), out)
        found.append([row["train_loss"] for row in told(sink, "metric")])
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert found[0] == pytest.approx(found[2], rel=1e-4)


@pytest.mark.parametrize(("method", "data", "word"), [("dpo", "kto", "worse answer"), ("kto", "dpo", "true or false")])
def test_data_of_the_other_kind_is_refused_with_the_row_and_the_way_out(
    tiny_model: Path, write_preferences: WritePreferences, tmp_path: Path, run: Run, method: str, data: str, word: str
) -> None:
    with pytest.raises(UserError, match="Row 1") as caught:
        run_training(run, make_spec(tiny_model, write_preferences(data), method=method), tmp_path)
    assert word in caught.value.sentence
    assert caught.value.field == "method"
