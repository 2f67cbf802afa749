"""Which device and number format a run uses, decided from the machine and not from a recipe."""

from __future__ import annotations

import os

import torch

from finetune_engine.errors import UserError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device() -> torch.device:
    """The first GPU, else the processor. ``CUDA_VISIBLE_DEVICES`` is how a supervisor assigns one."""
    return torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """``auto`` is fp32 on a processor (bf16 without bf16 units is 4-6 times slower), bf16 or fp16 on a GPU.

    Raises UserError ``bad_precision`` for fp16 on a processor.
    """
    if precision == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if precision not in DTYPES:
        raise UserError("bad_precision", f"Unknown precision {precision!r}.", field="precision", reason="bad_config")
    if precision == "fp16" and device.type == "cpu":
        raise UserError(
            "bad_precision",
            "fp16 needs a GPU; on a processor it is about a hundred times slower. Choose auto or fp32.",
            field="precision",
            reason="bad_config",
        )
    return DTYPES[precision]


def precision_name(dtype: torch.dtype) -> str:
    """``fp32``, ``bf16`` or ``fp16``."""
    return next((name for name, value in DTYPES.items() if value == dtype), str(dtype))


def use_threads(threads: int | None = None, *, processes: int = 1) -> int:
    """Set torch's threads to ``threads``, ``TUNESMITH_THREADS`` or the cores this process may use; return them.

    ``processes`` that train together on this machine share the cores.
    """
    wanted = threads or int(os.environ.get("TUNESMITH_THREADS") or 0)
    if wanted < 1:
        wanted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        wanted = max(1, wanted // processes)
    torch.set_num_threads(wanted)
    return wanted
