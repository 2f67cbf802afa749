"""Attention over several texts laid end to end, without padding and without one text seeing another.

Registered with transformers under a name of its own; the model code stays untouched. Each text is a segment
of one long row; positions restart in each. Checked against one-by-one in ``forward.flat_is_exact``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

FLAT = "tunesmith_flat"


def flat_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    segment_lengths: tuple[int, ...] = (),
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each segment.

    query ``(1, heads, tokens, size)``, key and value ``(1, key heads, tokens, size)``; the lengths add up to
    ``tokens``. Returns ``(1, tokens, heads, size)``. Raises NotImplementedError for what it cannot do exactly.
    """
    if kwargs.get("softcap") is not None or kwargs.get("s_aux") is not None or query.shape[0] != 1:
        raise NotImplementedError("this model's attention has parts that flat attention does not know")
    grouped = query.shape[1] != key.shape[1]
    outputs = []
    pieces = (part.split(segment_lengths, dim=2) for part in (query, key, value))
    for q, k, v in zip(*pieces, strict=True):
        mask = _window_mask(q.shape[2], sliding_window, q.device)
        outputs.append(
            scaled_dot_product_attention(
                q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling, is_causal=mask is None, enable_gqa=grouped
            )
        )
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _window_mask(length: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """None while the segment fits the window (plain causal attention is the same)."""
    if window is None or length <= window:
        return None
    place = torch.arange(length, device=device)
    back = place[:, None] - place[None, :]
    return (back >= 0) & (back < window)


def register() -> None:
    """Make the name known to transformers (again and again is fine). It needs no mask function."""
    AttentionInterface.register(FLAT, flat_attention)  # type: ignore[no-untyped-call]
