"""Attention over texts laid end to end: the call that a GPU makes, with a stand-in of the same interface."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import varlen

from finetune_engine.train.local import attention

LENGTHS = (3, 1, 7)


def by_mask(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, q_bounds: torch.Tensor, k_bounds: torch.Tensor,
    longest: int, longest_k: int, *, scale: float | None, window_size: tuple[int, int], enable_gqa: bool,
) -> torch.Tensor:  # fmt: skip
    """What ``varlen_attn`` promises, written with one mask over all tokens."""
    assert q_bounds.dtype == torch.int32
    assert longest == longest_k == int(q_bounds.diff().max())
    place = torch.arange(q.shape[0])
    text = torch.bucketize(place, q_bounds[1:], right=True)
    back = place[:, None] - place[None, :]
    left, right = window_size
    seen = (text[:, None] == text[None, :]) & (back >= -right) & ((back <= left) if left >= 0 else True)
    heads = (part.transpose(0, 1)[None] for part in (q, k, v))
    mixed = torch.nn.functional.scaled_dot_product_attention(*heads, attn_mask=seen, scale=scale, enable_gqa=enable_gqa)
    return mixed[0].transpose(0, 1)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("key_heads", [4, 2])
def test_all_segments_in_one_call_are_the_segments_one_by_one(
    monkeypatch: pytest.MonkeyPatch, window: int | None, key_heads: int
) -> None:
    torch.manual_seed(0)
    query = torch.randn(1, 4, sum(LENGTHS), 8)
    key, value = (torch.randn(1, key_heads, sum(LENGTHS), 8) for _ in range(2))
    settings: dict[str, Any] = {"scaling": 0.3, "sliding_window": window, "segment_lengths": LENGTHS}
    module = torch.nn.Module()
    one_by_one, _ = attention.flat_attention(module, query, key, value, None, **settings)
    monkeypatch.setattr(attention, "takes_varlen", lambda query: True)
    monkeypatch.setattr(varlen, "varlen_attn", by_mask)
    together, _ = attention.flat_attention(module, query, key, value, None, **settings)
    assert torch.allclose(one_by_one, together, atol=1e-6)


def test_a_processor_goes_one_by_one() -> None:
    assert not attention.takes_varlen(torch.zeros(1, 1, 1, 8, dtype=torch.bfloat16))
