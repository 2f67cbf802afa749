"""From a batch to its loss: logits are computed for scored positions only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from finetune_engine.train.local import attention
from finetune_engine.train.local.blocks import fast_blocks, skips_unscored
from finetune_engine.train.local.collate import Batch, collate, micro_batches
from finetune_engine.train.local.encode import Encoded
from finetune_engine.train.local.head import plain_head, scored_loss

# Where a model remembers its own attention while it reads texts laid end to end.
USUAL = "tunesmith_usual_attention"


@dataclass(frozen=True)
class Judged:
    """Sums over the scored tokens of some rows: nats, right guesses, tokens."""

    nll: float
    correct: int
    scored: int

    @property
    def loss(self) -> float:
        """Mean nats per scored token (nan when there is none)."""
        return self.nll / self.scored if self.scored else float("nan")

    @property
    def accuracy(self) -> float:
        """Share of scored tokens that were the likeliest (nan when there is none)."""
        return self.correct / self.scored if self.scored else float("nan")


def batch_loss(model: Any, batch: Batch, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """``(sum of nats with its graph, number of right guesses)`` over the scored tokens of one batch."""
    core = _core(model)
    weight = plain_head(core)
    if weight is not None:
        return scored_loss(_picked(core.model, batch, dtype, "last_hidden_state"), weight, batch.targets)
    logits = picked_logits(model, batch, dtype)
    loss = torch.nn.functional.cross_entropy(logits, batch.targets, reduction="sum")
    return loss, (logits.detach().argmax(-1) == batch.targets).sum()


def picked_logits(model: Any, batch: Batch, dtype: torch.dtype) -> torch.Tensor:
    """The logits that predict the batch's targets, ``(scored, vocabulary)`` float32."""
    return _picked(model, batch, dtype, "logits").float()


def _picked(module: Any, batch: Batch, dtype: torch.dtype, wanted: str) -> torch.Tensor:
    """One output of a model at the batch's scored positions, ``(scored, ...)``."""
    flat = batch.segment_lengths is not None
    extra: dict[str, Any] = {"segment_lengths": batch.segment_lengths} if flat else {}
    skips = flat and skips_unscored(module)
    if skips:
        extra["scored"] = batch.keep
    if wanted == "logits":
        extra["logits_to_keep"] = 0 if skips else batch.keep
    with torch.autocast(batch.input_ids.device.type, dtype=dtype, enabled=dtype != torch.float32):
        out = module(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False, **extra)
    found: torch.Tensor = getattr(out, wanted)
    if wanted != "logits" and not skips:
        found = found[:, batch.keep]
    return found[0] if flat else found[batch.rows, batch.columns]


def judge(
    model: Any,
    examples: Sequence[Encoded],
    *,
    tokens: int,
    flat: bool,
    pad_id: int,
    dtype: torch.dtype,
    between: Callable[[], object] = lambda: None,
) -> Judged:
    """Loss and token accuracy of ``examples`` without learning; ``between`` is called before each batch."""
    lengths = [len(example.input_ids) for example in examples]
    was_training = model.training
    model.eval()
    nll, correct, scored = 0.0, 0, 0
    device = next(model.parameters()).device
    try:
        for group in micro_batches(lengths, tokens, flat=flat):
            between()
            batch = collate([examples[row] for row in group], flat=flat, pad_id=pad_id).to(device)
            with torch.no_grad():
                loss, right = batch_loss(model, batch, dtype)
            nll, correct, scored = nll + float(loss), correct + int(right), scored + batch.scored
    finally:
        model.train(was_training)
    return Judged(nll, correct, scored)


@contextmanager
def flat_layout(model: Any, examples: Sequence[Encoded], *, wanted: bool, dtype: torch.dtype) -> Iterator[bool]:
    """Inside, the model reads texts laid end to end, if it can do so exactly; yields whether it does."""
    core = _core(model)
    before = core.config._attn_implementation
    setattr(core, USUAL, before)
    flat = wanted and _switch(core, attention.FLAT) and _is_exact(model, core, before, examples, dtype)
    if not flat:
        _switch(core, before)
    try:
        with ExitStack() as faster:
            blocks = faster.enter_context(fast_blocks(core, wanted=flat and dtype == torch.float32))
            if blocks and not _is_exact(model, core, before, examples, dtype):
                faster.close()
            yield flat
    finally:
        _switch(core, before)


@contextmanager
def usual_attention(model: Any) -> Iterator[None]:
    """Inside ``flat_layout``, a time in which the model reads as usual: padded batches, with a cache."""
    core = _core(model)
    now = core.config._attn_implementation
    _switch(core, getattr(core, USUAL, now))
    try:
        yield
    finally:
        _switch(core, now)


def _core(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "peft_config") and hasattr(model, "get_base_model") else model


def _switch(core: Any, name: str) -> bool:
    attention.register()
    try:
        core.set_attn_implementation(name)
    except (ValueError, ImportError):
        return False
    return bool(core.config._attn_implementation == name)


def _is_exact(model: Any, core: Any, before: str, examples: Sequence[Encoded], dtype: torch.dtype) -> bool:
    """Compare logits of a few rows laid flat with the same rows one by one, in the model's own attention.

    Logits, not losses: on untrained weights every loss is the logarithm of the vocabulary.
    """
    rows = sorted(examples[:64], key=lambda example: len(example.input_ids))[:3]
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            flat = picked_logits(model, collate(rows, flat=True, pad_id=0).to(device), dtype)
            _switch(core, before)
            single = [picked_logits(model, collate([row], flat=False, pad_id=0).to(device), dtype) for row in rows]
    except (TypeError, NotImplementedError, RuntimeError):
        return False
    finally:
        model.train(was_training)
        _switch(core, attention.FLAT)
    apart = float((flat - torch.cat(single)).abs().max())
    return apart <= (1e-3 if dtype == torch.float32 else 0.05) * max(1.0, float(flat.abs().max()))
