"""One pass of a model, and the throw of the dice: what writing for evaluation and writing for callers have in common."""

from __future__ import annotations

from typing import Any

import torch

from finetune_engine.train.local.load import LoadedModel


@torch.inference_mode()
def next_logits(
    loaded: LoadedModel, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any
) -> torch.Tensor:
    """What the model expects after ``ids`` ``(rows, columns)``: ``(rows, vocabulary)`` float32, where the model is.

    ``positions`` ``(rows, columns)`` are those of ``ids`` in their texts, ``mask`` ``(rows, cached columns + columns)`` is
    false at padding.
    """
    out = loaded.activate()(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: torch.Tensor = out.logits[:, -1].float()
    return logits


def drawn(scores: torch.Tensor, *, temperature: float, top_p: float, generator: torch.Generator | None) -> int | None:
    """A token by chance, from ``scores`` ``(vocabulary,)``: log-probabilities at temperature 1, or shifted ones.

    ``temperature`` is above 0. Among the likeliest tokens that hold ``top_p`` together; None where no token has a chance.
    """
    probabilities = torch.softmax(scores / temperature, dim=-1)
    if top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        # A token stays while those before it hold less than top_p: the likeliest always stays.
        ordered[(ordered.cumsum(-1) - ordered) >= top_p] = 0.0
        probabilities = torch.zeros_like(probabilities).scatter(0, order, ordered)
    # The dice are thrown on the processor, so that a seed gives the same answer on every device.
    probabilities = probabilities.cpu()
    if not bool(probabilities.isfinite().all()) or float(probabilities.sum()) <= 0:
        return None
    return int(torch.multinomial(probabilities, 1, generator=generator))
