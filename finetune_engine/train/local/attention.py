"""Attention over several texts laid end to end, without padding and without one text seeing another.

Registered with transformers under a name of its own; the model code stays untouched. Each text is a segment
of one long row; positions restart in each. On a GPU all segments go through torch's variable-length flash attention
at once, elsewhere one after another. Checked against one-by-one in ``forward.flat_layout``.
"""

from __future__ import annotations

from functools import lru_cache
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
    if dropout == 0.0 and takes_varlen(query):
        return _varlen(query, key, value, segment_lengths, scaling, sliding_window), None
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


def takes_varlen(query: torch.Tensor) -> bool:
    """Whether torch's variable-length flash attention computes this: half precision on a GPU that has it."""
    return query.is_cuda and query.dtype in (torch.float16, torch.bfloat16) and _has_flash(query.device.index or 0)


@lru_cache
def _has_flash(device: int) -> bool:
    """Flash attention needs compute capability 8.0 and a torch that was built with it."""
    try:
        import torch.nn.attention.varlen
    except ImportError:
        return False
    return torch.cuda.get_device_capability(device)[0] >= 8 and torch.backends.cuda.is_flash_attention_available()


def _varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: tuple[int, ...],
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """All segments in one call; shapes as in ``flat_attention``."""
    from torch.nn.attention import varlen

    bounds, longest = _bounds(lengths, query.device), max(lengths)
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
    back = -1 if window is None or window >= longest else window - 1
    mixed: Any = varlen.varlen_attn(
        q, k, v, bounds, bounds, longest, longest,
        scale=scaling, window_size=(back, 0), enable_gqa=q.shape[1] != k.shape[1],
    )  # fmt: skip
    whole: torch.Tensor = mixed[None]
    return whole


@lru_cache(maxsize=2)
def _bounds(lengths: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Where segments begin and end, ``(segments + 1,)`` int32; the same for every layer of a batch."""
    ends = torch.tensor((0, *lengths)).cumsum(0, dtype=torch.int32)
    return ends.to(device)


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
