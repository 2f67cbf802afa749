"""One model trained by several processes: its parts are spread over them, and each learns from a share of the rows.

Every decoder layer is sharded with torch's ``fully_shard``: a process keeps 1/size of its weights and gathers the rest
while the layer is computed. The rows of a step are dealt out so that the sum of all gradients is that of one process.
Every forward pass is a meeting of all processes, so all must make equally many, in the same order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from typing import Any

import torch

from finetune_engine.errors import UserError
from finetune_engine.ports import Run
from finetune_engine.train.local.collate import micro_batches
from finetune_engine.train.local.lesson import Lesson, Sums
from finetune_engine.train.local.team import Team


def spread_gradients(
    lesson: Lesson, rows: Sequence[Any], *, budget: int, backward: Callable[[torch.Tensor], None]
) -> Sums:
    """This process's part of a step: as ``Objective.add_gradients``, and the sums are those of all processes."""
    total = Sums()
    for group, counts in turns(lesson, rows, budget):
        learn = backward if counts else _unlearnt(backward)
        found = lesson.objective.add_gradients(lesson, group, budget=sys.maxsize, backward=learn)
        total += found if counts else Sums()
    return Sums(*lesson.team.sums(*astuple(total)))


def spread_judge(lesson: Lesson, rows: Sequence[Any], *, budget: int, between: Callable[[], object]) -> Sums:
    """This process's part of an evaluation: as ``Objective.judge``, and the sums are those of all processes."""
    total = Sums()
    for group, counts in turns(lesson, rows, budget):
        found = lesson.objective.judge(lesson, group, budget=sys.maxsize, between=between)
        total += found if counts else Sums()
    return Sums(*lesson.team.sums(*astuple(total)))


def _unlearnt(backward: Callable[[torch.Tensor], None]) -> Callable[[torch.Tensor], None]:
    return lambda loss: backward(loss * 0.0)


def turns(lesson: Lesson, rows: Sequence[Any], budget: int) -> list[tuple[list[Any], bool]]:
    """This process's micro-batches of ``rows`` and whether each counts: equally many in every process.

    A process with fewer of them passes the shortest row again, without counting it. Nothing is exchanged: each process
    works out the shares of all.
    """
    both = [[len(text.input_ids) for text in lesson.objective.sequences(row)] for row in rows]
    lengths = [sum(texts) if lesson.flat else len(texts) * max(texts) for texts in both]
    shares = deal(lengths, lesson.team.size)
    packed = [micro_batches([lengths[row] for row in share], budget, flat=lesson.flat) for share in shares]
    mine = shares[lesson.team.rank]
    groups = [([rows[mine[index]] for index in group], True) for group in packed[lesson.team.rank]]
    spare = rows[min(range(len(rows)), key=lambda row: lengths[row])]
    return groups + [([spare], False)] * (max(map(len, packed)) - len(groups))


def deal(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indexes of ``lengths`` in ``size`` shares, the longest first to whoever has least so far."""
    shares: list[list[int]] = [[] for _ in range(size)]
    loads = [0] * size
    for row in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        least = loads.index(min(loads))
        shares[least].append(row)
        loads[least] += lengths[row]
    return shares


@contextmanager
def spread_out(run: Run, model: Any, team: Team) -> Iterator[None]:
    """Inside (and afterwards) the model is spread over the team; alone it stays as it is."""
    spread(model, team)
    if not team.is_alone:
        parameters = list(model.parameters())
        parted = sum(is_spread(parameter) for parameter in parameters)
        sentence = f"{team.size} processes train together; {parted} of {len(parameters)} tensors are spread over them."
        run.emit("log", level="info", message=sentence, spread=parted, parameters=len(parameters))
    yield


def spread(model: Any, team: Team) -> None:
    """Spread a model that is the same in every process over them. Once is enough; again and again is fine.

    Each decoder layer is a unit, and what is left (word vectors, last layer) another.
    """
    if team.mesh is None:
        return
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if isinstance(model, FSDPModule):
        return
    for unit in [*decoder_layers(model), model]:
        fully_shard(unit, mesh=team.mesh, reshard_after_forward=True)
    for unit in model.modules():
        if isinstance(unit, FSDPModule):
            # The loss is divided by the whole step's tokens already: add gradients up, do not average them.
            unit.set_gradient_divide_factor(1.0)
            unit.set_force_sum_reduction_for_comms(True)


def decoder_layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers of a decoder: the module list that holds most weights. Raises UserError when there is none."""
    lists: list[torch.nn.Module] = [
        found for found in model.modules() if isinstance(found, torch.nn.ModuleList) and len(found) > 0
    ]
    if not lists:
        raise UserError(
            "bad_config",
            "This model cannot be spread over several processes. Set processes to 1.",
            field="processes",
            reason="bad_config",
        )
    largest = max(lists, key=lambda layers: sum(parameter.numel() for parameter in layers.parameters()))
    return list(largest.children())


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor on the processor, in memory of its own; for one that is spread, a meeting of all processes."""
    if is_spread(tensor):
        tensor = tensor.full_tensor()  # type: ignore[attr-defined]
    return tensor.detach().to("cpu").contiguous().clone()


def part(tensor: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """``value``, a whole tensor, spread as ``tensor`` is, where it is. Each process cuts out its own part."""
    value = value.to(tensor.device)
    if not is_spread(tensor):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, tensor.device_mesh, tensor.placements, src_data_rank=None)  # type: ignore[attr-defined]


def number(value: torch.Tensor) -> float:
    """A tensor of one element as a number, the same in every process."""
    return float(whole(value))


def is_spread(tensor: torch.Tensor) -> bool:
    """Whether this process may hold only a part of ``tensor``."""
    return hasattr(tensor, "full_tensor")
