"""Answers written together: rows join while others are under way, and leave when they are done.

One step of the model serves every row, whoever asked, so ten callers wait little longer than one. Rows keep
their own length, sampling, constraint and end. A long prompt is read in pieces between the steps of the others, and the
instruction that callers of one model have in common is read once while they keep coming.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from finetune_engine.next_token import next_logits
from finetune_engine.serve.choosing_tokens import Choice, choose_all
from finetune_engine.serve.live_row import LiveRow
from finetune_engine.serve.slots import RowStore, SlotStore, WholeStore
from finetune_engine.train.local.load import LoadedModel

PIECE_TOKENS = 256
"""Columns of a prompt that are read at once while others wait (on a processor; a GPU reads more)."""
GPU_PIECE_TOKENS = 2048
SHARED_TOKENS = 64
"""A beginning that prompts share is read once if it is this long: else a pass of its own would cost more than it saves."""
KNOWN_PROMPTS, KNOWN_TOKENS = 4, 2048
"""Prompts that are remembered, and how much of each: keys and values take memory beside those of the rows."""

Beginning = tuple[int, ...]


@dataclass(frozen=True)
class KnownPrompt:
    """A prompt that was read: its tokens, and each layer's keys and values of them, ``(1, heads, tokens, width)``."""

    ids: list[int]
    states: list[tuple[torch.Tensor, torch.Tensor]]

    def begin(self, cache: Any, contexts: Sequence[list[int]]) -> int:
        """Give the empty ``cache`` what ``contexts`` share with this prompt; how many tokens of each need not be read.

        Something is left to read of each. 0 where they share too little.
        """
        count = min(shared_count([self.ids, *contexts]), min(map(len, contexts)) - 1)
        if count < SHARED_TOKENS:
            return 0
        for number, states in enumerate(self.states):
            keys, values = (part[:, :, :count].expand(len(contexts), -1, -1, -1) for part in states)
            cache.update(keys, values, number)
        return count


class Reading:
    """Prompts that are read together, a piece at a time. Equal prompts are read once, and so is a beginning that is known."""

    def __init__(self, rows: Sequence[LiveRow], cache: Any, piece: int) -> None:
        self.rows = list(rows)
        self.cache = cache
        places: dict[tuple[int, ...], int] = {}
        self.picks = [places.setdefault(tuple(row.context), len(places)) for row in rows]
        self.contexts = [list(context) for context in places]
        self._piece, self._at, self._spared = piece, 0, 0
        self._ids = self.mask = torch.zeros((0, 0), dtype=torch.long)
        self.logits: torch.Tensor | None = None

    def advance(self, loaded: LoadedModel, known: KnownPrompt | None) -> None:
        """Read the next piece, after what ``known`` spares. Once all is read, ``logits`` ``(different prompts, vocabulary)``
        tell the next tokens."""
        if self._at == 0:
            self._begin(loaded, known)
        begin, end = self._at, min(self._at + self._piece, self.mask.shape[1])
        ids, mask = self._ids[:, begin:end], self.mask[:, :end]
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, begin:]
        logits = next_logits(loaded, ids, mask, positions, self.cache)
        self._at = end
        if end == self.mask.shape[1]:
            self._align()
            self.logits = logits

    def known(self) -> KnownPrompt:
        """The first of the prompts, all read."""
        real = self.mask[0].nonzero()[:KNOWN_TOKENS, 0]
        states = [(layer.keys[:1, :, real], layer.values[:1, :, real]) for layer in self.cache.layers]
        return KnownPrompt(self.contexts[0][:KNOWN_TOKENS], states)

    def drop(self, gone: set[int]) -> None:
        """Forget rows (by ``id``) whose caller has gone."""
        kept = [(row, pick) for row, pick in zip(self.rows, self.picks, strict=True) if id(row) not in gone]
        self.rows, self.picks = [row for row, _ in kept], [pick for _, pick in kept]

    def _begin(self, loaded: LoadedModel, known: KnownPrompt | None) -> None:
        """Lay the prompts out: what is known, then padding, then the rest of each."""
        contexts = self.contexts
        spared = known.begin(self.cache, contexts) if known is not None else 0
        width = max(map(len, contexts))
        ids = torch.full((len(contexts), width), loaded.pad_token_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        mask[:, :spared] = 1
        for place, context in enumerate(contexts):
            begin = width - len(context) + spared
            ids[place, begin:] = torch.tensor(context[spared:])
            mask[place, begin:] = 1
        self._ids, self.mask, self._at = ids.to(loaded.device), mask.to(loaded.device), spared
        self._spared = spared

    def _align(self) -> None:
        """Move what was known up to the rest of its prompt: padding is on the left of every row."""
        if not self._spared or bool(self.mask.all()):
            return
        self.mask, order = self.mask.sort(dim=1, stable=True)
        columns = order[:, None, :, None]
        for layer in self.cache.layers:
            layer.keys, layer.values = (
                states.gather(2, columns.expand_as(states)) for states in (layer.keys, layer.values)
            )


def beginning_of(context: list[int]) -> Beginning:
    """What other prompts may share with this one; empty where it is too short to matter."""
    return tuple(context[:SHARED_TOKENS]) if len(context) > SHARED_TOKENS else ()


def shared_count(texts: Sequence[list[int]]) -> int:
    """How many tokens all ``texts`` begin with alike."""
    least, most = min(texts), max(texts)  # what the first and the last in order share, all between share
    return next((at for at, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), min(len(least), len(most)))


class LiveBatch:
    """Rows of one model in the middle of their answers. Not thread-safe: one thread owns it."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.rows: list[LiveRow] = []
        self._readings: list[Reading] = []
        self._next: torch.Tensor | None = None
        self._known: OrderedDict[Beginning, KnownPrompt] = OrderedDict()
        layers = self._new_cache().layers
        self.can_join = bool(layers) and all(type(layer) is DynamicLayer for layer in layers)
        """Whether rows may join others that are under way (not with sliding windows or recurrent states)."""
        self._piece = GPU_PIECE_TOKENS if loaded.device.type == "cuda" else PIECE_TOKENS
        self._store = self._new_store()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.rows and not self._readings

    @property
    def row_count(self) -> int:
        """Rows under way, those whose prompt is being read included."""
        return len(self.rows) + sum(len(reading.rows) for reading in self._readings)

    def all_rows(self) -> list[LiveRow]:
        """Rows under way, and those whose prompt is being read."""
        return [*self.rows, *(row for reading in self._readings for row in reading.rows)]

    def add(self, rows: Sequence[LiveRow]) -> None:
        """Take in rows whose prompts are then read by ``step``. The batch must be empty unless ``can_join``."""
        if not rows:
            return
        if not self.can_join:
            self._readings.append(Reading(rows, self._new_cache(), piece=2**31))
            return
        self._readings += [Reading(group, self._new_cache(), self._piece) for group in self._groups(rows)]

    def _groups(self, rows: Sequence[LiveRow]) -> Iterator[list[LiveRow]]:
        """Rows that are read together: those whose prompts begin alike, and all others."""
        alike: dict[Beginning, list[LiveRow]] = {}
        for row in rows:
            alike.setdefault(beginning_of(row.context), []).append(row)
        others = alike.pop((), [])
        for beginning, group in alike.items():
            equal = [row for row in group if row.context == group[0].context]
            if beginning in self._known:
                yield from self._by_length(group)
            elif len(equal) < len(group):
                # The first goes ahead: the others then know the beginning.
                yield equal
                yield from self._by_length([row for row in group if row.context != group[0].context])
            else:
                others = group + others
        yield from self._by_length(others)

    def _by_length(self, rows: Sequence[LiveRow]) -> list[list[LiveRow]]:
        """Short prompts together; a long one with its equals."""
        short = [row for row in rows if len(row.context) <= self._piece]
        groups = [short] if short else []
        # Choices of one request share their prompt; two different long prompts would only pad one another.
        for row in rows:
            if len(row.context) <= self._piece:
                continue
            if groups and groups[-1] is not short and groups[-1][0].context == row.context:
                groups[-1].append(row)
            else:
                groups.append([row])
        return groups

    def step(self) -> list[LiveRow]:
        """Read a piece of the oldest prompts, then one more token for every row. The rows that were written on.

        Finished rows leave the batch.
        """
        self._read()
        if not self.rows or self._next is None:
            return []
        written = list(self.rows)
        chosen = choose_all(self._next, written, self.loaded)
        for row, choice in zip(written, chosen, strict=True):
            row.take(choice, self.loaded.eos_token_ids)
        staying = [number for number, row in enumerate(written) if row.is_going]
        self._go_on(staying, chosen)
        return written

    def drop(self, leaving: Sequence[LiveRow]) -> None:
        """Take out rows whose caller has gone. To be called between steps."""
        gone = {id(row) for row in leaving}
        for reading in self._readings:
            reading.drop(gone)
        self._readings = [reading for reading in self._readings if reading.rows]
        staying = [number for number, row in enumerate(self.rows) if id(row) not in gone]
        if len(staying) < len(self.rows):
            self._keep(staying)
        if self.is_empty:
            self.clear()

    def clear(self) -> None:
        """Forget every row and free their memory. What is known of prompts stays."""
        self.rows, self._readings, self._next = [], [], None
        self._store = self._new_store()

    def forget_prompts(self) -> bool:
        """Free the memory of what is known of prompts. Whether there was any."""
        was_known = bool(self._known)
        self._known.clear()
        return was_known

    def _new_cache(self) -> Any:
        return DynamicCache(config=self.loaded.model.config)

    def _new_store(self) -> RowStore:
        return SlotStore(self.loaded.model.config, self.loaded.device) if self.can_join else WholeStore()

    def _read(self) -> None:
        """One piece of the oldest reading; rows whose prompt is read join the others."""
        if not self._readings:
            return
        reading = self._readings[0]
        beginning = beginning_of(reading.contexts[0])
        reading.advance(self.loaded, self._known.get(beginning))
        if reading.logits is None:
            return
        del self._readings[0]
        if beginning and self.can_join:
            self._learn(beginning, reading.known())
        self._store.adopt(reading.cache, reading.mask, reading.picks)
        logits = reading.logits.index_select(0, torch.tensor(reading.picks, device=reading.logits.device))
        self._next = logits if self._next is None else torch.cat([self._next, logits])
        self.rows.extend(reading.rows)

    def _learn(self, beginning: Beginning, prompt: KnownPrompt) -> None:
        """Keep the keys and values of a prompt; those not met for longest are forgotten."""
        self._known[beginning] = prompt
        self._known.move_to_end(beginning)
        if len(self._known) > KNOWN_PROMPTS:
            self._known.popitem(last=False)

    def _keep(self, staying: list[int]) -> list[int]:
        """Let go of the other rows; the old numbers of those that stay, in their new order."""
        order = self._store.keep(staying)
        self.rows = [self.rows[number] for number in order]
        if self._next is not None:
            keep = torch.tensor(order, dtype=torch.long, device=self._next.device)
            self._next = self._next.index_select(0, keep) if order else None
        return order

    def _go_on(self, staying: list[int], chosen: Sequence[Choice]) -> None:
        """Carry on with the rows that are not done: feed them the token just chosen."""
        self._next = None
        order = staying if len(staying) == len(self.rows) else self._keep(staying)
        if not order:
            if self.is_empty:
                self.clear()
            return
        tokens = torch.tensor([[chosen[number].token] for number in order], device=self.loaded.device)
        mask, positions = self._store.open_column()
        self._next = next_logits(self.loaded, tokens, mask, positions, self._store.cache)
        self._store.close_column()
