"""QLoRA's base model: the weights in four bits, so that a model needs about a quarter of its memory.

Dettmers et al. 2023, https://arxiv.org/abs/2305.14314: normal-float numbers, and the scales quantised once more. Only
the add-on is trained, in full precision; what comes out fits the base model in any format.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from finetune_engine.errors import UserError


def four_bit_settings(dtype: torch.dtype) -> Any:
    """What ``from_pretrained`` takes as ``quantization_config``; products are computed in ``dtype``.

    Raises UserError ``four_bit_missing`` where bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "four_bit_missing",
            "Training with 'qlora' needs the package bitsandbytes, which this machine does not have. Choose 'lora', "
            "which gives the same quality and needs more memory, or ask the operator for: pip install bitsandbytes.",
            field="peft",
            reason="bad_config",
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def keep_one_packing(model: Any) -> None:
    """Keep processors of a newer kind from packing the weights anew, and less exactly, whenever the model is judged:
    training goes on with the same weights afterwards, and a resumed one must too."""
    for part in model.modules():
        if hasattr(part, "support_avx512bf16_for_cpu"):
            part.support_avx512bf16_for_cpu = False


def count(parameter: torch.nn.Parameter) -> int:
    """How many numbers a parameter stands for; in four bits two of them share a byte."""
    if parameter.__class__.__name__ == "Params4bit":
        return parameter.numel() * parameter.element_size() * 2
    return parameter.numel()
