"""Liger's GPU kernels for norms, rotary positions and gates, where they are installed (the extra ``gpu``).

They replace parts of a loaded model in place, so its logits are compared before and after. The loss stays ours (``head``).
``TUNESMITH_GPU_KERNELS=off`` leaves them out.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import torch

from finetune_engine.errors import EngineError

KINDS = ("llama", "mistral", "qwen2", "qwen3")
PARTS = {"rope": True, "rms_norm": True, "swiglu": True, "cross_entropy": False, "fused_linear_cross_entropy": False}
SAME = 0.05


def use_gpu_kernels(model: Any, device: torch.device) -> bool:
    """Put the kernels into a model of transformers that stands on a GPU; returns whether they are in.

    Raises EngineError ``bad_config`` when the model gives other logits with them.
    """
    kind = getattr(model.config, "model_type", None)
    if device.type != "cuda" or kind not in KINDS or os.environ.get("TUNESMITH_GPU_KERNELS") == "off":
        return False
    try:
        patch = getattr(
            importlib.import_module("liger_kernel.transformers.monkey_patch"), f"apply_liger_kernel_to_{kind}"
        )
    except (ImportError, AttributeError):
        return False
    before = _logits(model)
    patch(**PARTS, model=model)
    apart = (_logits(model) - before).abs().max()
    if apart > SAME * max(1.0, float(before.abs().max())):
        raise EngineError(
            "bad_config",
            "The GPU kernels of liger-kernel change this model's answers. Update liger-kernel, or set "
            "TUNESMITH_GPU_KERNELS=off.",
            {"apart": float(apart)},
        )
    return True


def _logits(model: Any) -> torch.Tensor:
    """Of a few fixed ids."""
    ids = torch.arange(1, 17, device=next(model.parameters()).device)[None] % model.config.vocab_size
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits.float()
    return logits
