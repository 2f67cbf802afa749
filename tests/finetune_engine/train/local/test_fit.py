"""How many processes train when nobody says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from finetune_engine.train.local.fit import processes_for
from finetune_engine.train.spec import RunSpec


def spec(model: Path, **settings: Any) -> RunSpec:
    training = {"training": settings.pop("training", {})}
    return RunSpec.from_dict({"base_model": {"path": str(model)}, "snapshot": {"path": "x"}} | training | settings)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine with GPUs of so many bytes each."""

    def have(count: int, room: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=room))

    return have


def test_a_machine_without_gpus_takes_one_process(tiny_model: Path, gpus: Any) -> None:
    gpus(0, 0)
    assert processes_for(spec(tiny_model)) == 1


def test_a_model_that_one_gpu_holds_takes_one_process(tiny_model: Path, gpus: Any) -> None:
    gpus(4, 80 * 10**9)
    assert processes_for(spec(tiny_model)) == 1


@pytest.mark.parametrize(("peft", "times"), [("lora", 1.5), ("full", 5.0)])
def test_a_model_that_one_gpu_cannot_hold_takes_all_of_them(
    tiny_model: Path, gpus: Any, peft: str, times: float
) -> None:
    size = sum(path.stat().st_size for path in tiny_model.glob("*.safetensors"))
    asked = spec(tiny_model, training={"peft": peft})
    gpus(4, int(size * times / 0.9) - 1000)
    assert processes_for(asked) == 4
    gpus(4, int(size * times / 0.9) + 1000)
    assert processes_for(asked) == 1


def test_what_one_process_must_do_is_not_spread_by_itself(tiny_model: Path, gpus: Any) -> None:
    gpus(4, 1)
    assert processes_for(spec(tiny_model, training={"peft": "qlora"})) == 1
    assert processes_for(spec(tiny_model, training={"method": "kto"})) == 1


def test_the_persons_number_holds(tiny_model: Path, gpus: Any) -> None:
    gpus(4, 1)
    assert processes_for(spec(tiny_model, processes=2)) == 2
