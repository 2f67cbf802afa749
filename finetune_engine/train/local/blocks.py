"""Decoder layers of the Llama kind, computed in fewer passes over memory, with the same numbers as transformers'.

On a processor a third of a step goes into passes between the matrix products: norms, rotations, residual sums, the two
branches of each adapter. Here a frozen layer with plain adapters is one function:

* the adapter is added to its frozen matrix (``W + s B A``, small beside the rows that go through it), so that a layer
  costs one product instead of three, and its residual is added by that product;
* norm, rotation, and gate have their own gradients, which read each value once;
* in the last layer only the positions whose predictions are scored go on after attention: nobody reads the others.

Rows lie flat (see ``attention``). Used for frozen fp32 weights on a processor, in layers whose parts are known by name,
and only after ``forward.flat_layout`` has compared the logits with the model's own code.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import silu

from finetune_engine.train.local.attention import flat_attention

LAYERS = frozenset({"LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer"})
SILU = frozenset({"SiLU", "SiLUActivation"})
QKV, GATED = ("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")


class Projection(torch.autograd.Function):
    """``y_i = x (W_i + s_i B_i A_i)' + b_i`` for matrices that read the same x; the W and b are frozen.

    x ``(tokens, in)``; each part is W ``(out, in)``, b ``(out,)`` or None, A ``(r, in)`` and B ``(out, r)`` or None.
    With a residual ``(tokens, out)`` the single y is added to it.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, residual: torch.Tensor | None, scalings: Sequence[float], *parts: Any
    ) -> tuple[torch.Tensor, ...]:
        """See the class; ``parts`` are W, b, A, B of each matrix in turn."""
        ctx.save_for_backward(x, *parts)
        ctx.scalings = scalings
        outputs = []
        for scaling, (weight, bias, a, b) in zip(scalings, _fours(parts), strict=True):
            whole = _whole(weight, a, b, scaling).t()
            added = bias if residual is None else residual if bias is None else residual + bias
            outputs.append(x @ whole if added is None else torch.addmm(added, x, whole))
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        """Gradients of x, the residual, and each A and B."""
        x, *parts = ctx.saved_tensors
        grad_x: torch.Tensor | None = None
        found: list[Any] = []
        for grad, scaling, (weight, _, a, b) in zip(grads, ctx.scalings, _fours(parts), strict=True):
            if ctx.needs_input_grad[0]:
                whole = _whole(weight, a, b, scaling)
                grad_x = grad @ whole if grad_x is None else grad_x.addmm_(grad, whole)
            found += [None, None, *_adapter_gradients(x, grad, a, b, scaling)]
        grad_residual = grads[0] if ctx.needs_input_grad[1] else None
        return grad_x, grad_residual, None, *found


def _fours(parts: Sequence[Any]) -> list[Sequence[Any]]:
    return [parts[index : index + 4] for index in range(0, len(parts), 4)]


def _whole(weight: torch.Tensor, a: torch.Tensor | None, b: torch.Tensor | None, scaling: float) -> torch.Tensor:
    """The matrix with its adapter added, anew each time: kept, it would double the model's memory."""
    return weight if a is None or b is None else torch.addmm(weight, b, a, alpha=scaling)


def _adapter_gradients(
    x: torch.Tensor, grad: torch.Tensor, a: torch.Tensor | None, b: torch.Tensor | None, scaling: float
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    if a is None or b is None:
        return None, None
    return ((grad @ b).t() @ x).mul_(scaling), (grad.t() @ (x @ a.t())).mul_(scaling)


class Norm(torch.autograd.Function):
    """Root-mean-square norm over the last dimension with a frozen weight."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        """x ``(tokens, width)``, weight ``(width,)``."""
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale: torch.Tensor = size.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return torch.mul(x, scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        """The gradient of x."""
        x, weight, scale = ctx.saved_tensors
        grad = grads[0] * weight
        along = (grad * x).sum(-1, keepdim=True)
        along.mul_(scale**3).div_(-x.shape[-1])
        return grad.mul_(scale).addcmul_(x, along), None, None


class Rotation(torch.autograd.Function):
    """Rotary positions: x ``(tokens, heads, size)``, cos and sin ``(tokens, size)``."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """The two halves of each head are turned against each other."""
        ctx.save_for_backward(cos, sin)
        half = x.shape[-1] // 2
        cos, sin = cos[:, None], sin[:, None]
        turned = x * cos
        turned[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
        turned[..., half:].addcmul_(x[..., :half], sin[..., half:])
        return turned

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        """Turned back."""
        grad = grads[0]
        cos, sin = (part[:, None] for part in ctx.saved_tensors)
        half = grad.shape[-1] // 2
        back = grad * cos
        back[..., :half].addcmul_(grad[..., half:], sin[..., half:])
        back[..., half:].addcmul_(grad[..., :half], sin[..., :half], value=-1)
        return back, None, None


class Gate(torch.autograd.Function):
    """``silu(gate) * up``; keeps its inputs only, not what lies between."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """Both ``(tokens, inner)``."""
        ctx.save_for_backward(gate, up)
        return silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        """Gradients of both."""
        gate, up = ctx.saved_tensors
        grad = grads[0]
        return torch.ops.aten.silu_backward(grad * up, gate), silu(gate).mul_(grad)


def _apply(function: type[torch.autograd.Function], *inputs: Any) -> Any:
    return function.apply(*inputs)  # type: ignore[no-untyped-call]


def _parts(linear: Any) -> tuple[float, tuple[Any, ...]] | None:
    """``(scaling, (W, b, A, B))`` of a linear layer; None while its adapter must be computed apart (dropout)."""
    if not hasattr(linear, "lora_A"):
        return 0.0, (linear.weight, linear.bias, None, None)
    name = linear.active_adapters[0]
    if linear.training and getattr(linear.lora_dropout[name], "p", 0.0) > 0:
        return None
    base = linear.get_base_layer()
    return linear.scaling[name], (base.weight, base.bias, linear.lora_A[name].weight, linear.lora_B[name].weight)


def project(x: torch.Tensor, linears: Sequence[Any], residual: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
    """What ``linears`` make of x ``(tokens, in)``; a residual is added to the output of a single one."""
    parts = [_parts(linear) for linear in linears]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        outputs = tuple(linear(x) for linear in linears)
        return outputs if residual is None else (residual + outputs[0],)
    flat = [tensor for _, tensors in known for tensor in tensors]
    found: tuple[torch.Tensor, ...] = _apply(Projection, x, residual, [scaling for scaling, _ in known], *flat)
    return found


def _norm(module: Any, x: torch.Tensor) -> torch.Tensor:
    normed: torch.Tensor = _apply(Norm, x, module.weight, module.variance_epsilon)
    return normed


def _block_forward(
    layer: Any,
    hidden_states: torch.Tensor,
    *args: Any,
    position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
    segment_lengths: tuple[int, ...] | None = None,
    scored: torch.Tensor | None = None,
    **kwargs: Any,
) -> torch.Tensor:
    """Stands in for a decoder layer's ``forward``: ``(1, tokens, width)`` to the same, or ``(1, scored, width)``."""
    if segment_lengths is None or position_embeddings is None:
        outside: torch.Tensor = layer.own_forward(
            hidden_states, *args, position_embeddings=position_embeddings, **kwargs
        )
        return outside
    attention, feed = layer.self_attn, layer.mlp
    x = hidden_states[0]
    tokens = x.shape[0]
    cos, sin = (part[0] for part in position_embeddings)
    reads = project(_norm(layer.input_layernorm, x), [getattr(attention, name) for name in QKV])
    q, k, v = (part.view(tokens, -1, attention.head_dim) for part in reads)
    q, k = _apply(Rotation, q, cos, sin), _apply(Rotation, k, cos, sin)
    q, k, v = (part.transpose(0, 1)[None] for part in (q, k, v))
    mixed, _ = flat_attention(attention, q, k, v, None, scaling=attention.scaling, segment_lengths=segment_lengths)
    mixed = mixed.reshape(tokens, -1)
    if scored is not None and layer.is_last:
        x, mixed = x[scored], mixed[scored]
    (x,) = project(mixed, [attention.o_proj], x)
    gate, up = project(_norm(layer.post_attention_layernorm, x), [getattr(feed, name) for name in GATED])
    (x,) = project(_apply(Gate, gate, up), [feed.down_proj], x)
    return x[None]


def _is_known(layer: Any) -> bool:
    """Whether a decoder layer is of the kind that ``_block_forward`` computes, frozen, in fp32 on a processor."""
    if type(layer).__name__ not in LAYERS or type(layer.mlp.act_fn).__name__ not in SILU:
        return False
    attention = layer.self_attn
    if getattr(attention.config, "sliding_window", None) or getattr(attention, "attention_dropout", 0.0):
        return False
    linears = [getattr(attention, name) for name in (*QKV, "o_proj")]
    linears += [getattr(layer.mlp, name) for name in (*GATED, "down_proj")]
    norms = [layer.input_layernorm, layer.post_attention_layernorm]
    return all(map(_is_plain, linears)) and all(
        hasattr(norm, "variance_epsilon") and not norm.weight.requires_grad for norm in norms
    )


def _is_plain(linear: Any) -> bool:
    """A frozen linear layer, bare or with one plain LoRA adapter."""
    from finetune_engine.train.local.fused import fusable

    if hasattr(linear, "lora_A"):
        return fusable(linear)
    if type(linear) is not torch.nn.Linear:
        return False
    weight = linear.weight
    biased = linear.bias is not None and linear.bias.requires_grad
    held = weight.device.type == "cpu" and weight.dtype == torch.float32 and type(weight.data) is torch.Tensor
    return held and not biased and not weight.requires_grad


def skips_unscored(model: Any) -> bool:
    """Whether the model, peft's wrapping or not, drops positions that are not scored, given ``scored``."""
    return any(hasattr(layer, "own_forward") for layer in decoder_layers(model)[-1:])


def decoder_layers(model: Any) -> list[Any]:
    """The decoder layers of a causal language model or its body, where they stand as in Llama; else none."""
    if hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
        model = model.get_base_model()
    return list(getattr(getattr(model, "model", model), "layers", None) or [])


@contextmanager
def fast_blocks(core: Any, *, wanted: bool) -> Iterator[bool]:
    """Inside, the layers of ``core`` (a model without peft's wrapping) run as here, if all can; yields whether so."""
    layers = decoder_layers(core)
    able = wanted and bool(layers) and all(map(_is_known, layers))
    for layer in layers if able else ():
        layer.own_forward, layer.is_last = layer.forward, layer is layers[-1]
        layer.forward = types.MethodType(_block_forward, layer)
    try:
        yield able
    finally:
        for layer in layers if able else ():
            del layer.forward, layer.own_forward, layer.is_last
