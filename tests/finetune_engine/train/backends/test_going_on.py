"""Going on from an earlier trained model, and judging by rows of their own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from finetune_engine.errors import UserError
from finetune_engine.events import ListSink
from finetune_engine.ports import Run
from finetune_engine.train.backends.local_peft import run_training
from finetune_engine.train.local.adapters import make_trainable
from finetune_engine.train.spec import RunSpec
from tests.finetune_engine.conftest import WriteSnapshot

SETTINGS = {
    "num_train_epochs": 3,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "learning_rate": 5e-3,
    "lora_dropout": 0.0,
    "r": 4,
    "lora_alpha": 8,
    "early_stopping_patience": 0,
}


def train(model: Path, snapshot: Path, out: Path, *, more: dict[str, Any] | None = None, **settings: Any) -> ListSink:
    out.mkdir()
    sink = ListSink()
    raw = {
        "base_model": {"key": "tiny", "path": str(model)},
        "snapshot": {"path": str(snapshot)},
        "training": SETTINGS | settings,
        "threads": 1,
    }
    run_training(Run(sink), RunSpec.from_dict(raw | (more or {})), out)
    return sink


def told(sink: ListSink, kind: str) -> list[dict[str, Any]]:
    return [event.data for event in sink.events if event.kind == kind]


@pytest.mark.parametrize("kind", ["lora", "dora", "full"])
def test_a_training_begins_where_the_earlier_model_ended(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, kind: str
) -> None:
    rate = {"learning_rate": 1e-3} if kind == "full" else {}
    first = train(tiny_model, write_snapshot(), tmp_path / "first", peft=kind, **rate)
    parent = {"continue_from": str(tmp_path / "first" / "artefact")}
    more = train(
        tiny_model, write_snapshot(), tmp_path / "more", more=parent, peft=kind, learning_rate=1e-9, num_train_epochs=1
    )
    last = told(first, "result")[0]["valid_loss"]
    assert told(more, "metric")[-1]["valid_loss"] == pytest.approx(last, rel=1e-3)
    assert last < told(first, "metric")[0]["train_loss"] / 1.5


def test_size_and_places_of_the_earlier_add_on_are_kept_and_said(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    train(tiny_model, write_snapshot(), tmp_path / "first", target_modules=["q_proj", "v_proj"], num_train_epochs=1)
    parent = {"continue_from": str(tmp_path / "first" / "artefact")}
    more = train(tiny_model, write_snapshot(), tmp_path / "more", more=parent, r=16, num_train_epochs=1)
    config = json.loads((tmp_path / "more" / "artefact" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], set(config["target_modules"])) == (4, 8, {"q_proj", "v_proj"})
    assert any("r 4" in data["message"] for data in told(more, "log"))
    record = json.loads((tmp_path / "more" / "artefact" / "run.json").read_text())
    assert record["continued_from"]
    assert record["training"]["r"] == 4


def test_an_add_on_cannot_be_gone_on_from_with_all_weights(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    train(tiny_model, write_snapshot(), tmp_path / "first", num_train_epochs=1)
    parent = {"continue_from": str(tmp_path / "first" / "artefact")}
    with pytest.raises(UserError, match="'lora'") as caught:
        train(tiny_model, write_snapshot(), tmp_path / "more", more=parent, peft="full")
    assert caught.value.field == "peft"


def test_an_earlier_model_that_is_gone_is_the_persons_matter(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        train(tiny_model, write_snapshot(), tmp_path / "out", more={"continue_from": str(tmp_path / "gone")})
    assert caught.value.code == "parent_missing"


def test_an_earlier_model_whose_files_changed_is_not_gone_on_from(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    train(tiny_model, write_snapshot(), tmp_path / "first", num_train_epochs=1)
    weights = tmp_path / "first" / "artefact" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError) as caught:
        train(tiny_model, write_snapshot(), tmp_path / "more", more={"continue_from": str(weights.parent)})
    assert caught.value.code == "parent_damaged"


def test_a_test_run_measures_the_add_on_that_the_training_will_have(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune_engine.train.local import measure as measuring

    train(tiny_model, write_snapshot(), tmp_path / "first", target_modules=["q_proj"], num_train_epochs=1)
    made: list[Any] = []

    def watched(*args: Any) -> Any:
        made.append(make_trainable(*args))
        return made[-1]

    monkeypatch.setattr(measuring, "make_trainable", watched)
    raw = {
        "base_model": {"key": "tiny", "path": str(tiny_model)},
        "snapshot": {"path": str(write_snapshot())},
        "training": {"r": 64},
        "continue_from": str(tmp_path / "first" / "artefact"),
        "threads": 1,
    }
    measuring.measure(Run(ListSink()), RunSpec.from_dict(raw), started=0.0)
    config = made[0].peft_config["default"]
    assert (config.r, set(config.target_modules)) == (4, {"q_proj"})


def test_every_row_of_a_validation_snapshot_is_judged_and_none_of_the_own_ones(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path
) -> None:
    other = tmp_path / "other.parquet"
    shutil.move(write_snapshot(2, 1, [(f"what is {i}", "tax") for i in range(3)]), other)
    more = {"validation": {"path": str(other)}}
    sink = train(tiny_model, write_snapshot(24, 6), tmp_path / "out", more=more, num_train_epochs=1)
    assert {data["prompt"] for data in told(sink, "sample")} == {"what is 0", "what is 1", "what is 2"}
    assert any("evaluated on 3 every" in data["message"] for data in told(sink, "log"))
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["validation"]["counts"] == {"train": 2, "validation": 1}
