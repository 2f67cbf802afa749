"""Keys and values of the rows under way, each row in a slot of blocks that are taken once and used again.

Rows stand right-aligned: all end in the same column, and a row's padding is on its left. So a token costs its own keys and
values, a row that leaves costs a copy of one other row, and a row that comes costs a copy of its prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM_ROWS = 8
ROOM_COLUMNS = 128


class RowStore(Protocol):
    """Where the rows of a batch keep their keys and values."""

    @property
    def cache(self) -> Any:
        """What the model is handed."""

    def adopt(self, cache: Any, mask: torch.Tensor, picks: Sequence[int]) -> None:
        """Append rows ``picks`` (may repeat) of prompts just read: their cache and mask ``(rows, width)``, padded on the left."""

    def keep(self, staying: Sequence[int]) -> list[int]:
        """Let the other rows go. The rows that stay, by their old numbers, in their new order."""

    def open_column(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Make room for one token of every row: the mask with it ``(rows, width)`` and its positions ``(rows, 1)``."""

    def close_column(self) -> None:
        """The model has written that token."""


class SlotLayer(DynamicLayer):
    """One layer's blocks ``(slots, heads, columns, width)``, of which the store says what is in use."""

    def __init__(self, store: SlotStore) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._store = store
        self.blocks: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the token of every row into the open column; all keys and values in use."""
        store, (keys, values) = self._store, self.blocks
        rows, end = store.rows, store.end
        keys[:rows, :, end : end + 1] = key_states
        values[:rows, :, end : end + 1] = value_states
        return keys[:rows, :, store.start : end + 1], values[:rows, :, store.start : end + 1]

    def get_seq_length(self) -> int:
        """Columns in use."""
        return self._store.end - self._store.start


class SlotStore:
    """Rows that come and go while others are under way. For models whose layers keep every token."""

    def __init__(self, config: Any, device: torch.device) -> None:
        self.rows = self.start = self.end = 0
        self._cache = DynamicCache(config=config)
        self._layers = [SlotLayer(self) for _ in self._cache.layers]
        self._cache.layers = list(self._layers)
        self._mask = torch.zeros((0, 0), dtype=torch.bool, device=device)
        self._lengths: list[int] = []

    @property
    def cache(self) -> Any:
        """See RowStore."""
        return self._cache

    def adopt(self, cache: Any, mask: torch.Tensor, picks: Sequence[int]) -> None:
        """See RowStore."""
        width = mask.shape[1]
        if self.rows == 0:
            self.start = self.end = width
        self._make_room(len(picks), width)
        self._lay(cache, mask, picks)

    def _lay(self, cache: Any, mask: torch.Tensor, picks: Sequence[int]) -> None:
        first, last, width = self.rows, self.rows + len(picks), mask.shape[1]
        left = self.end - width
        chosen = torch.tensor(list(picks), device=mask.device)
        for layer, prompt in zip(self._layers, cache.layers, strict=True):
            if not layer.blocks:
                layer.blocks = [self._new_block(states) for states in (prompt.keys, prompt.values)]
            for block, states in zip(layer.blocks, (prompt.keys, prompt.values), strict=True):
                # What an earlier row left in the slot is wiped: hidden or not, a NaN there would spread.
                block[first:last, :, :left] = 0
                block[first:last, :, left : self.end] = states.index_select(0, chosen)
        self._mask[first:last] = False
        self._mask[first:last, left : self.end] = mask.bool().index_select(0, chosen)
        self._lengths += mask.sum(dim=1).index_select(0, chosen).tolist()
        self.rows, self.start = last, min(self.start, left)

    def keep(self, staying: Sequence[int]) -> list[int]:
        """See RowStore. Rows from the end move into the free slots."""
        order, wanted = list(range(len(staying))), set(staying)
        movers = [row for row in staying if row >= len(staying)]
        for slot in range(len(staying)):
            if slot not in wanted:
                order[slot] = source = movers.pop()
                self._move(source, slot)
        self._lengths = [self._lengths[row] for row in order]
        self.rows = len(order)
        if order:
            self.start = self.end - max(self._lengths)
        return order

    def _move(self, source: int, slot: int) -> None:
        for layer in self._layers:
            for block in layer.blocks:
                block[slot, :, : self.start] = 0
                block[slot, :, self.start : self.end] = block[source, :, self.start : self.end]
        self._mask[slot] = self._mask[source]

    def open_column(self) -> tuple[torch.Tensor, torch.Tensor]:
        """See RowStore."""
        if self.end >= self._mask.shape[1]:
            self._make_room(0, self.end - self.start)
        self._mask[: self.rows, self.end] = True
        positions = torch.tensor(self._lengths, device=self._mask.device)[:, None]
        return self._mask[: self.rows, self.start : self.end + 1], positions

    def close_column(self) -> None:
        """See RowStore."""
        self.end += 1
        self._lengths = [length + 1 for length in self._lengths]

    def _make_room(self, more: int, width: int) -> None:
        """Blocks for ``more`` rows of ``width`` columns that end where the others do, and for one more column."""
        rows, columns = self.rows + more, self._mask.shape[1]
        if rows <= self._mask.shape[0] and width <= self.end < columns:
            return
        used = max(width, self.end - self.start)
        slots = max(self._mask.shape[0], rows if rows <= self._mask.shape[0] else rows + ROOM_ROWS)
        # Growing by half keeps the copies few, however long the answers become.
        wide = max(columns, used + max(ROOM_COLUMNS, used // 2)) if used + ROOM_COLUMNS > columns else columns
        for layer in self._layers:
            layer.blocks = [self._moved(block, slots, wide, used) for block in layer.blocks]
        self._mask = self._moved(self._mask[:, None, :, None], slots, wide, used)[:, 0, :, 0]
        self.start, self.end = used - (self.end - self.start), used

    def _moved(self, block: torch.Tensor, slots: int, wide: int, end: int) -> torch.Tensor:
        """A block of the new size in which the columns in use end at ``end``."""
        new = block.new_zeros((slots, block.shape[1], wide, block.shape[3]))
        used = self.end - self.start
        if self.rows:
            new[: self.rows, :, end - used : end] = block[: self.rows, :, self.start : self.end]
        return new

    def _new_block(self, states: torch.Tensor) -> torch.Tensor:
        slots, wide = self._mask.shape
        return states.new_zeros((slots, states.shape[1], wide, states.shape[3]))


class WholeStore:
    """Rows that begin together, in transformers' own cache: for sliding windows and recurrent states."""

    def __init__(self) -> None:
        self._cache: Any = None
        self._mask = torch.zeros((0, 0), dtype=torch.long)

    @property
    def cache(self) -> Any:
        """See RowStore."""
        return self._cache

    def adopt(self, cache: Any, mask: torch.Tensor, picks: Sequence[int]) -> None:
        """See RowStore. Only into an empty store."""
        if self._mask.shape[0]:
            raise RuntimeError("rows of this model begin together")
        chosen = torch.tensor(list(picks), device=mask.device)
        if list(picks) != list(range(mask.shape[0])):
            cache.batch_select_indices(chosen)
        self._cache, self._mask = cache, mask.index_select(0, chosen)

    def keep(self, staying: Sequence[int]) -> list[int]:
        """See RowStore."""
        if len(staying) < self._mask.shape[0]:
            chosen = torch.tensor(list(staying), device=self._mask.device)
            if staying:
                self._cache.batch_select_indices(chosen)
            self._mask = self._mask.index_select(0, chosen.long())
        return list(staying)

    def open_column(self) -> tuple[torch.Tensor, torch.Tensor]:
        """See RowStore."""
        self._mask = torch.cat([self._mask, self._mask.new_ones((self._mask.shape[0], 1))], dim=1)
        return self._mask, self._mask.sum(dim=1, keepdim=True) - 1

    def close_column(self) -> None:
        """See RowStore."""
