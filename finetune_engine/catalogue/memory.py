"""How many bytes a training needs, before anything is loaded. Free of torch.

Every part is a range, because libraries differ in what they keep. Sources of the formulas:

* weights, gradients, optimiser: number x bytes of its format; AdamW keeps two numbers for each trained one (Loshchilov
  and Hutter 2019, as torch implements it). Four-bit weights of QLoRA: 4.127 bits each with double quantisation
  (Dettmers et al. 2023, section 3).
* activations: what one layer keeps for the backward pass, counted tensor by tensor after Korthikanti et al. 2022
  ("Reducing Activation Recomputation in Large Transformer Models", section 4), for RMSNorm, rotary positions and a gated
  feed-forward layer instead of their GPT block, and attention that keeps no score matrix (SDPA, flash). With gradient
  checkpointing only each layer's input is kept, and one layer at a time in full.
* logits: computed for scored positions only; the copy in 32 bits, its softmax and its gradient are alive together.

``tests/finetune_engine/catalogue/test_memory.py`` holds them against what torch really keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from finetune_engine.catalogue.ranges import Range
from finetune_engine.catalogue.shape import ModelShape

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
FOUR_BIT_BYTES = 4.127 / 8
EXACT = (1.0, 1.0, 1.0)
# How far libraries may be from the count of tensors: fused kernels keep less, eager ones and copies more.
ACTIVATIONS_MARGIN = (0.7, 1.0, 1.4)
GUESS_MARGIN = (0.6, 1.0, 1.8)
# Interpreter, libraries and the allocator's reserve, measured: importing torch, transformers and peft on Linux takes
# 0.5 to 0.7 GB of resident memory; a CUDA context takes 0.4 to 0.8 GB of the card.
OVERHEAD = {"cpu": (450_000_000, 600_000_000, 900_000_000), "cuda": (400_000_000, 700_000_000, 1_500_000_000)}
LORA_KINDS = frozenset({"lora", "rslora", "dora", "qlora"})


@dataclass(frozen=True)
class MemoryPlan:
    """What decides the memory, besides the model.

    ``tokens`` is the most that one micro-batch holds (all its texts laid end to end), ``scored`` how many of them are learnt,
    ``eval_tokens`` and ``eval_scored`` the same when checking. ``targets`` None means all matrices of the layers; a
    tuple of names means those. ``precision`` is settled (no ``auto``), ``device`` ``cpu`` or ``cuda``.
    """

    tokens: int
    scored: int
    eval_tokens: int
    eval_scored: int
    peft: str = "lora"
    r: int = 16
    precision: str = "fp32"
    gradient_checkpointing: bool = False
    targets: tuple[str, ...] | None = None
    with_embeddings: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes by what they are for, each a range. ``evaluation`` does not add to ``activations`` and ``logits``: it happens
    at another time."""

    weights: Range[int]
    adapters: Range[int]
    gradients: Range[int]
    optimiser: Range[int]
    activations: Range[int]
    logits: Range[int]
    evaluation: Range[int]
    overhead: Range[int]

    @property
    def total(self) -> Range[int]:
        """The most at one time: what always stays, and the larger of learning and checking."""
        kept = (self.weights, self.adapters, self.gradients, self.optimiser, self.overhead)

        def at(end: Callable[[Range[int]], int]) -> int:
            learning = end(self.activations) + end(self.logits)
            return sum(end(part) for part in kept) + max(learning, end(self.evaluation))

        return Range(at(lambda part: part.low), at(lambda part: part.expected), at(lambda part: part.high))

    def as_dict(self) -> dict[str, Any]:
        """Every part and the total, each ``{low, expected, high}`` in bytes."""
        parts = {item.name: getattr(self, item.name).as_dict() for item in fields(self)}
        return parts | {"total": self.total.as_dict()}


def trained_parameters(shape: ModelShape, plan: MemoryPlan) -> int:
    """How many numbers training changes. LoRA: r x (inputs + outputs) for each adapted matrix (Hu et al. 2021)."""
    if plan.peft == "full":
        return shape.parameters
    chosen = [
        (inputs, outputs) for name, inputs, outputs in shape.linear if plan.targets is None or name in plan.targets
    ]
    count = shape.layers * sum(plan.r * (inputs + outputs) for inputs, outputs in chosen)
    if plan.peft == "dora":
        count += shape.layers * sum(outputs for _inputs, outputs in chosen)
    if plan.with_embeddings:
        count += plan.r * (shape.vocabulary + shape.hidden)
    return count


def memory_need(shape: ModelShape, plan: MemoryPlan) -> MemoryNeed:
    """All parts for one process on one device."""
    size = BYTES[plan.precision]
    trained = trained_parameters(shape, plan)
    margin = GUESS_MARGIN if shape.is_guess else EXACT
    trained_size = size if plan.peft == "full" else 4  # adapters are kept in 32 bits
    adapters = trained * 4 if plan.peft in LORA_KINDS else 0
    most_trained = (trained_size, trained_size, 4)  # the most: 32 bits where the weights have 16
    activation = _activations(shape, plan, size)
    loose = tuple(a * b for a, b in zip(ACTIVATIONS_MARGIN, margin, strict=True))
    return MemoryNeed(
        weights=_spread(_weights(shape, plan, size), margin),
        adapters=_spread(adapters, margin),
        gradients=_each(trained, most_trained, margin),
        optimiser=_each(2 * trained, most_trained, margin),
        activations=_spread(activation, loose),
        logits=_spread(_logits(plan.scored, shape.vocabulary, size), loose),
        evaluation=_spread(_checking(shape, plan, size), loose),
        overhead=Range(*OVERHEAD[plan.device]),
    )


def _weights(shape: ModelShape, plan: MemoryPlan, size: int) -> float:
    if plan.peft != "qlora":
        return shape.parameters * size
    return shape.linear_parameters * FOUR_BIT_BYTES + (shape.parameters - shape.linear_parameters) * size


def _activations(shape: ModelShape, plan: MemoryPlan, size: int) -> float:
    """Bytes kept for the backward pass of one micro-batch.

    With checkpointing a layer is worked through again only when the logits have gone: the larger of both counts.
    """
    layer = plan.tokens * kept_in_layer(shape, plan, size)
    if plan.gradient_checkpointing:
        inputs = plan.tokens * shape.layers * shape.hidden * size
        return inputs + max(0.0, layer - _logits(plan.scored, shape.vocabulary, size))
    return shape.layers * layer + plan.tokens * shape.hidden * size


def kept_in_layer(shape: ModelShape, plan: MemoryPlan, size: int) -> float:
    """Bytes that one layer keeps of one token, tensor by tensor."""
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    norms = 2 * shape.hidden * (4 + size)  # the input in 32 bits and what the norm gives, twice
    attention = (2 * queries + 2 * keys) * size + 4 * shape.heads  # rotated q and k, v, result, log-sum-exp
    feed_forward = 4 * shape.intermediate * size  # gate, its SiLU, up, their product
    return norms + attention + feed_forward + _kept_by_adapters(shape, plan, size)


def _kept_by_adapters(shape: ModelShape, plan: MemoryPlan, size: int) -> float:
    """The input of each adapted matrix after dropout, its mask, and the r numbers between the two halves; DoRA also
    keeps both results that it scales."""
    if plan.peft not in LORA_KINDS:
        return 0.0
    chosen = [part for part in shape.linear if plan.targets is None or part[0] in plan.targets]
    kept = sum(inputs * (4 + 4) + plan.r * 4 for _name, inputs, _outputs in chosen)
    scaled = sum(outputs * 2 * size for _name, _inputs, outputs in chosen) if plan.peft == "dora" else 0
    return kept + scaled


def _logits(scored: int, vocabulary: int, size: int) -> float:
    """Measured at the peak: the logits in their own format, and one and a half times a copy in 32 bits."""
    return scored * vocabulary * (size + 6.0)


def _checking(shape: ModelShape, plan: MemoryPlan, size: int) -> float:
    """Checking keeps one layer's work at a time, and the logits."""
    layer = (4 * shape.hidden + 3 * shape.intermediate) * size
    return plan.eval_tokens * layer + _logits(plan.eval_scored, shape.vocabulary, size)


def _spread(expected: float, margin: tuple[float, ...]) -> Range[int]:
    return Range(*(round(expected * share) for share in margin))


def _each(count: int, sizes: tuple[int, int, int], margin: tuple[float, ...]) -> Range[int]:
    return Range(*(round(count * size * share) for size, share in zip(sizes, margin, strict=True)))
