"""A key-value cache that has room for what is still to be written.

transformers' dynamic cache copies all keys and values at each token. Here they are written into memory that was taken at the
start, so a token costs its own keys and values only.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class GrowingLayer(DynamicLayer):
    """A layer's keys and values, ``(rows, heads, tokens, width)``, as views of larger blocks; ``room`` more tokens fit in."""

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room = room
        self._blocks: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the keys and values of new tokens; returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        before = self.get_seq_length()
        after = before + key_states.shape[-2]
        if self._blocks is None or after > self._blocks[0].shape[-2]:
            self._blocks = (self._grown(self.keys, key_states, after), self._grown(self.values, value_states, after))
        keys, values = self._blocks
        keys[..., before:after, :] = key_states
        values[..., before:after, :] = value_states
        self.keys, self.values = keys[..., :after, :], values[..., :after, :]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the rows ``indices`` only."""
        if self._blocks is None:
            return
        length = self.get_seq_length()
        keys, values = (block.index_select(0, indices) for block in self._blocks)
        self._blocks = (keys, values)
        self.keys, self.values = keys[..., :length, :], values[..., :length, :]

    def _grown(self, held: torch.Tensor | None, new: torch.Tensor, length: int) -> torch.Tensor:
        shape = (*new.shape[:-2], length + self._room, new.shape[-1])
        block = new.new_empty(shape)
        if held is not None and held.numel():
            block[..., : held.shape[-2], :] = held
        return block


def cache_with_room(config: Any, room: int) -> Any:
    """An empty cache for a model of this config, with memory for ``room`` tokens after the prompt; transformers' own where a
    layer is of another kind (sliding windows, recurrent states)."""
    cache = DynamicCache(config=config)
    if cache.layers and all(type(layer) is DynamicLayer for layer in cache.layers):
        cache.layers = [GrowingLayer(room) for _ in cache.layers]
    return cache
