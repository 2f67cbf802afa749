"""LoRA layers computed in fewer passes over memory, with the same result as peft's.

On a processor a small model spends most of its time not in matrix products but in dropout and in adding up
the two branches of each adapted layer. Here both branches and their gradients are one function, and the
dropout mask comes from 16 random bits a value instead of a floating-point draw. Used in training only, in
fp32, for plain LoRA; everything else keeps peft's own code. Checked against peft's by ``matches_peft``.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

BITS = 1 << 16
SAME = 1e-4


class AdaptedLinear(torch.autograd.Function):
    """``y = x W' + b + s (m x) A' B'`` with the frozen W ``(out, in)``, A ``(r, in)``, B ``(out, r)``.

    x ``(..., in)`` -> y ``(..., out)``; m is the dropout mask, already scaled, or None.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scaling: float,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """See the class."""
        flat = x.reshape(-1, x.shape[-1])
        dropped = flat if mask is None else flat * mask
        low = dropped @ a.t()
        y = flat @ weight.t() if bias is None else torch.addmm(bias, flat, weight.t())
        y.addmm_(low, b.t(), alpha=scaling)
        ctx.save_for_backward(dropped, low, weight, a, b, mask)
        ctx.scaling = scaling
        return y.view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        """Gradients of x, A and B; W and its bias are frozen."""
        dropped, low, weight, a, b, mask = ctx.saved_tensors
        grad = grads[0].reshape(-1, weight.shape[0])
        grad_low = (grad @ b).mul_(ctx.scaling)
        grad_a = grad_low.t() @ dropped
        grad_b = (grad.t() @ low).mul_(ctx.scaling)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ weight
            if mask is None:
                grad_x.addmm_(grad_low, a)
            else:
                grad_x.addcmul_(grad_low @ a, mask)
            grad_x = grad_x.view(*grads[0].shape[:-1], weight.shape[1])
        return grad_x, None, None, grad_a, grad_b, None, None


def dropout_mask(rows: int, columns: int, p: float) -> torch.Tensor:
    """``(rows, columns)`` of 0 and 1/(1-p), drawn from torch's generator 16 bits at a time.

    p is taken to the nearest 1/65536, and the scale is that of the p really used: the mean stays 1.
    """
    n = rows * columns
    cut = round(p * BITS)
    words = torch.empty((n + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.int16)[:n] >= cut - BITS // 2
    return kept.to(torch.float32).mul_(BITS / (BITS - cut)).view(rows, columns)


def _fused_forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Stands in for ``peft.tuners.lora.Linear.forward`` while training."""
    if not layer.training or args or kwargs:
        return layer.peft_forward(x, *args, **kwargs)  # type: ignore[no-any-return]
    name = layer.active_adapters[0]
    p = getattr(layer.lora_dropout[name], "p", 0.0)
    mask = dropout_mask(x.numel() // x.shape[-1], x.shape[-1], p) if p > 0 else None
    base = layer.get_base_layer()
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    return _adapted(x, base.weight, base.bias, a, b, layer.scaling[name], mask)


def _adapted(*inputs: Any) -> torch.Tensor:
    out: torch.Tensor = AdaptedLinear.apply(*inputs)  # type: ignore[no-untyped-call]
    return out


def fusable(layer: Any) -> bool:
    """Whether a peft layer is plain LoRA with one adapter on a frozen fp32 ``torch.nn.Linear`` of the processor."""
    from peft.tuners.lora import Linear

    if type(layer) is not Linear or len(layer.active_adapters) != 1 or layer.merged or layer.disable_adapters:
        return False
    name = layer.active_adapters[0]
    base = layer.get_base_layer()
    plain = type(base) is torch.nn.Linear and name not in getattr(layer, "lora_variant", {})
    biased = layer.lora_A[name].bias is not None or layer.lora_B[name].bias is not None
    on_cpu = base.weight.device.type == "cpu" and base.weight.dtype == torch.float32
    learns = layer.lora_A[name].weight.requires_grad and not base.weight.requires_grad
    return bool(plain and not biased and on_cpu and learns)


@contextmanager
def fused_lora(model: Any) -> Iterator[int]:
    """Inside, fusable layers of a peft model run fused; yields how many."""
    layers = [part for part in model.modules() if hasattr(part, "lora_A") and fusable(part)]
    layers = [layer for layer in layers if matches_peft(layer)]
    for layer in layers:
        layer.peft_forward = layer.forward
        layer.forward = types.MethodType(_fused_forward, layer)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.forward, layer.peft_forward


def matches_peft(layer: Any) -> bool:
    """Whether the fused layer gives peft's output for a fixed input (dropout off, B not zero)."""
    name = layer.active_adapters[0]
    base, a = layer.get_base_layer(), layer.lora_A[name].weight
    x = torch.linspace(-1, 1, 2 * base.in_features).view(2, -1)
    was_training, b = layer.training, layer.lora_B[name].weight
    layer.eval()
    with torch.no_grad():
        kept = b.clone()
        b.fill_(0.01)
        theirs = layer(x)
        ours = _adapted(x, base.weight, base.bias, a, b, layer.scaling[name], None)
        b.copy_(kept)
    layer.train(was_training)
    return bool((theirs - ours).abs().max() <= SAME * max(1.0, float(theirs.abs().max())))
