"""Training an add-on over a base model in four bits."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError
from finetune_engine.events import ListSink
from finetune_engine.ports import Run
from finetune_engine.train.backends.local_peft import run_training
from finetune_engine.train.local.adapters import trainable_share
from finetune_engine.train.local.load import attach_adapter, load_base
from finetune_engine.train.spec import RunSpec
from tests.finetune_engine.conftest import WriteSnapshot

SETTINGS = {
    "peft": "qlora",
    "r": 4,
    "learning_rate": 1e-2,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
}


def make_spec(model: Path, snapshot: Path) -> RunSpec:
    return RunSpec.from_dict(
        {
            "base_model": {"key": "tiny", "path": str(model)},
            "snapshot": {"path": str(snapshot)},
            "training": SETTINGS,
            "threads": 1,
        }
    )


@pytest.fixture
def needs_bitsandbytes() -> None:
    if importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed")


@pytest.mark.usefixtures("needs_bitsandbytes")
def test_it_learns_and_leaves_an_add_on_that_fits_the_plain_base_model(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, sink: ListSink
) -> None:
    run_training(run, make_spec(tiny_model, write_snapshot()), tmp_path)
    metrics = [event.data for event in sink.events if event.kind == "metric"]
    assert metrics[-1]["train_loss"] < metrics[0]["train_loss"] / 1.5
    base = load_base(BaseModelRef(key="tiny", path=str(tiny_model)))
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = base.activate()(ids).logits
        after = attach_adapter(base, tmp_path / "artefact").activate()(ids).logits
    assert not torch.allclose(before, after)


@pytest.mark.usefixtures("needs_bitsandbytes")
def test_the_layers_are_packed_and_still_counted_in_full(tiny_model: Path) -> None:
    ref = BaseModelRef(key="tiny", path=str(tiny_model))
    plain, packed = load_base(ref).model, load_base(ref, four_bit=True).model
    layer = packed.model.layers[0].self_attn.q_proj.weight
    assert layer.dtype == torch.uint8
    assert layer.numel() * 2 == plain.model.layers[0].self_attn.q_proj.weight.numel()
    assert trainable_share(packed).total == trainable_share(plain).total


def test_without_the_package_the_answer_names_it_and_another_choice(
    tiny_model: Path, write_snapshot: WriteSnapshot, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def without(name: str, *args: Any) -> Any:
        return None if name == "bitsandbytes" else found(name, *args)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(UserError, match="bitsandbytes") as caught:
        run_training(run, make_spec(tiny_model, write_snapshot()), tmp_path)
    assert caught.value.field == "peft"
    assert "'lora'" in caught.value.sentence
