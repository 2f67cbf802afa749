"""Which rows make a step, and how they become tensors.

The order is a pure function of (seed, pass), so a resumed run needs no memory of it. The rows of one step
are packed into as few micro-batches as the allowed memory (in tokens) takes: the gradient is the same.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from finetune_engine.train.local.encode import Encoded


@dataclass(frozen=True)
class Batch:
    """Rows as tensors, laid flat end to end ``(1, tokens)`` or padded on the right ``(rows, width)``.

    ``keep`` are the positions whose logits are wanted; ``rows``/``columns`` pick, from ``logits[:, keep]``, the
    predictions of ``targets`` (all ``(scored,)``). ``segment_lengths`` is None when padded.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    segment_lengths: tuple[int, ...] | None
    keep: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    targets: torch.Tensor
    tokens: int

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        if device.type == "cpu":
            return self
        tensors = {k: v.to(device, non_blocking=True) for k, v in vars(self).items() if isinstance(v, torch.Tensor)}
        return Batch(**{**vars(self), **tensors})

    @property
    def scored(self) -> int:
        """How many tokens are learnt or judged."""
        return int(self.targets.shape[0])


@lru_cache(maxsize=4)
def pass_order(n: int, seed: int, number: int) -> tuple[int, ...]:
    """The order of ``n`` rows in pass ``number`` (from 0)."""
    order = list(range(n))
    random.Random(f"{seed}:{number}").shuffle(order)
    return tuple(order)


def step_rows(n: int, seed: int, step: int, per_step: int) -> list[int]:
    """The rows of optimiser step ``step`` (from 0). The last step of a pass may have fewer than ``per_step``."""
    steps_per_pass = -(-n // per_step)
    number, place = divmod(step, steps_per_pass)
    return list(pass_order(n, seed, number)[place * per_step : (place + 1) * per_step])


def micro_batches(lengths: Sequence[int], tokens: int, *, flat: bool) -> list[list[int]]:
    """Indexes of ``lengths``, longest first, in groups of at most ``tokens`` (padding counts unless flat).

    A row longer than ``tokens`` gets a group of its own.
    """
    groups: list[list[int]] = []
    used = 0
    for row in sorted(range(len(lengths)), key=lambda r: (-lengths[r], r)):
        if groups:
            cost = used + lengths[row] if flat else (len(groups[-1]) + 1) * lengths[groups[-1][0]]
            if cost <= tokens:
                groups[-1].append(row)
                used = cost
                continue
        groups.append([row])
        used = lengths[row]
    return groups


def collate(examples: Sequence[Encoded], *, flat: bool, pad_id: int) -> Batch:
    """Tensors of some rows; rows must have at least one id after their first."""
    return _flat(examples) if flat else _padded(examples, pad_id)


def _flat(examples: Sequence[Encoded]) -> Batch:
    ids: list[int] = []
    positions: list[int] = []
    keep: list[int] = []
    targets: list[int] = []
    for example in examples:
        start, length, first = len(ids), len(example.input_ids), example.first_scored
        ids.extend(example.input_ids)
        positions.extend(range(length))
        keep.extend(range(start + first - 1, start + length - 1))
        targets.extend(example.input_ids[first:])
    return Batch(
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([positions]),
        segment_lengths=tuple(len(example.input_ids) for example in examples),
        keep=torch.tensor(keep, dtype=torch.long),
        rows=torch.zeros(len(keep), dtype=torch.long),
        columns=torch.arange(len(keep)),
        targets=torch.tensor(targets, dtype=torch.long),
        tokens=len(ids),
    )


def _padded(examples: Sequence[Encoded], pad_id: int) -> Batch:
    width = max(len(example.input_ids) for example in examples)
    low = min(example.first_scored for example in examples) - 1
    ids = torch.full((len(examples), width), pad_id, dtype=torch.long)
    rows: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    for index, example in enumerate(examples):
        length, first = len(example.input_ids), example.first_scored
        ids[index, :length] = torch.tensor(example.input_ids)
        rows.extend([index] * (length - first))
        columns.extend(range(first - 1 - low, length - 1 - low))
        targets.extend(example.input_ids[first:])
    return Batch(
        input_ids=ids,
        position_ids=torch.arange(width).expand(len(examples), width).contiguous(),
        segment_lengths=None,
        keep=torch.arange(low, max(low + 1, width - 1)),
        rows=torch.tensor(rows, dtype=torch.long),
        columns=torch.tensor(columns, dtype=torch.long),
        targets=torch.tensor(targets, dtype=torch.long),
        tokens=sum(len(example.input_ids) for example in examples),
    )
