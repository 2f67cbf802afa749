"""GPU kernels, with a stand-in of the same interface: whether they are used, and what happens when they are wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from finetune_engine.errors import EngineError
from finetune_engine.train.local.kernels import use_gpu_kernels

GPU = torch.device("cuda")


@pytest.fixture
def model(tiny_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stands in for liger_kernel; keeps what it was asked for."""
    asked: list[dict[str, Any]] = []
    fake = ModuleType("liger_kernel.transformers.monkey_patch")
    fake.apply_liger_kernel_to_llama = lambda **settings: asked.append(settings)  # type: ignore[attr-defined]
    for name in ("liger_kernel", "liger_kernel.transformers"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    return asked


def test_they_are_put_into_a_model_on_a_gpu_without_their_loss(model: Any, patched: list[dict[str, Any]]) -> None:
    assert use_gpu_kernels(model, GPU)
    assert patched[0]["model"] is model
    assert not patched[0]["fused_linear_cross_entropy"]


def test_a_processor_needs_none(model: Any, patched: list[dict[str, Any]]) -> None:
    assert not use_gpu_kernels(model, torch.device("cpu"))
    assert not patched


def test_they_can_be_left_out(model: Any, patched: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_GPU_KERNELS", "off")
    assert not use_gpu_kernels(model, GPU)
    assert not patched


def test_without_the_package_all_stays_as_it_is(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "liger_kernel", None)
    assert not use_gpu_kernels(model, GPU)


def test_kernels_that_change_the_answers_end_the_run(
    model: Any, patched: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(**settings: Any) -> None:
        model.lm_head.weight.data.neg_()

    monkeypatch.setattr(sys.modules["liger_kernel.transformers.monkey_patch"], "apply_liger_kernel_to_llama", spoil)
    with pytest.raises(EngineError, match="TUNESMITH_GPU_KERNELS"):
        use_gpu_kernels(model, GPU)
