"""One model trained by several processes: its parts are spread over them, and each learns from a share of the rows.

Every decoder layer is sharded with torch's ``fully_shard``: a process keeps 1/size of its weights and gathers the rest
while the layer is computed. The rows of a step are dealt out so that the sum of all gradients is that of one process.
Every forward pass is a meeting of all processes, so all must make equally many, in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from finetune_engine.errors import UserError
from finetune_engine.ports import ACTIONS, Action, StopSignal
from finetune_engine.train.launch import STORE_FD, place

T = TypeVar("T")
# A meeting waits as long as the first process may take to write a checkpoint or to be held.
MEETING = timedelta(hours=12)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Team:
    """The processes that train together, as one of them sees it. ``mesh`` is None for one that is alone."""

    rank: int = 0
    size: int = 1
    local_size: int = 1
    mesh: DeviceMesh | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and tells the world."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is nobody to meet."""
        return self.mesh is None

    def sums(self, *values: float) -> list[float]:
        """Each value added up over all processes."""
        if self.is_alone:
            return list(values)
        whole = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(whole)
        return [float(value) for value in whole]

    def agreed(self, value: T) -> T:
        """What the first process has for ``value``, in every process."""
        if self.is_alone:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=CPU)
        return box[0]

    def gathered(self, value: T) -> list[T]:
        """Every process's ``value``, by rank."""
        if self.is_alone:
            return [value]
        box: list[Any] = [None] * self.size
        dist.all_gather_object(box, value)
        return box


ALONE = Team()


@contextmanager
def joined() -> Iterator[Team]:
    """Meet the other processes that train together, if there are any (see ``launch``); inside, the connection stands."""
    found = place()
    if found is None:
        yield ALONE
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(found.local_rank)
    # Words between processes go by gloo even on GPUs: they need not wait for what a GPU computes.
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    meeting: dict[str, Any] = {"timeout": MEETING}
    if found.rank == 0 and (door := os.environ.get(STORE_FD)):
        meeting |= {"store": _store_at(int(door), found.size), "rank": 0, "world_size": found.size}
    dist.init_process_group(backend, **meeting)
    mesh = init_device_mesh("cuda" if on_gpu else "cpu", (found.size,))
    yield Team(found.rank, found.size, found.local_size, mesh)
    # Not after an error: somebody may be missing, and the farewell is a meeting too.
    dist.destroy_process_group()


def _store_at(door: int, size: int) -> dist.Store:
    """Where the processes find each other: a store behind a socket that listens already."""
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    # torch closes the descriptor that it is given. Only its older server takes one.
    return dist.TCPStore(address, port, size, is_master=True, master_listen_fd=os.dup(door), use_libuv=False)


@dataclass
class SharedStop:
    """A stop signal that says in every process what it says in the first. Asking is a meeting."""

    team: Team
    stop: StopSignal

    def action(self) -> Action:
        """The first process's instruction."""
        number = ACTIONS.index(self.stop.action()) if self.team.is_first else 0
        told = torch.tensor(number)
        dist.broadcast(told, src=0)
        return ACTIONS[int(told)]


def turns(
    team: Team, lengths: Sequence[int], pack: Callable[[Sequence[int]], list[list[int]]]
) -> list[tuple[list[int], bool]]:
    """This process's micro-batches: ``(indexes of lengths, whether it counts)``, equally many in every process.

    ``pack`` makes micro-batches of some lengths. A process with fewer of them passes the shortest row again, without
    counting it. Nothing is exchanged: each process works out the shares of all.
    """
    if team.is_alone:
        return [(group, True) for group in pack(lengths)]
    shares = deal(lengths, team.size)
    packed = [pack([lengths[row] for row in share]) if share else [] for share in shares]
    share, groups = shares[team.rank], packed[team.rank]
    spare = [min(range(len(lengths)), key=lambda row: lengths[row])]
    mine = [([share[index] for index in group], True) for group in groups]
    return mine + [(spare, False)] * (max(map(len, packed)) - len(mine))


def deal(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indexes of ``lengths`` in ``size`` shares, the longest first to whoever has least so far."""
    shares: list[list[int]] = [[] for _ in range(size)]
    loads = [0] * size
    for row in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        least = loads.index(min(loads))
        shares[least].append(row)
        loads[least] += lengths[row]
    return shares


def shard(model: Any, team: Team) -> bool:
    """Spread a model that is the same in every process over them; returns whether it was done.

    Each decoder layer is a unit, and what is left (word vectors, last layer) another. Weights of 4 bits cannot be cut
    apart: every process keeps them whole and only what is trained is spread.
    """
    if team.mesh is None:
        return False
    whole = {parameter for parameter in model.parameters() if not parameter.is_floating_point()}
    for part in [*decoder_layers(model), model]:
        fully_shard(part, mesh=team.mesh, reshard_after_forward=True, ignored_params=whole)
    for part in model.modules():
        if isinstance(part, FSDPModule):
            # The loss is divided by the whole step's tokens already: add gradients up, do not average them.
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)
    return True


def decoder_layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers of a decoder: the module list that holds most weights. Raises UserError when there is none."""
    lists = [part for part in model.modules() if isinstance(part, torch.nn.ModuleList) and len(part) > 0]
    if not lists:
        raise UserError(
            "bad_config",
            "This model cannot be spread over several processes. Set processes to 1.",
            field="processes",
            reason="bad_config",
        )
    return list(max(lists, key=lambda part: sum(parameter.numel() for parameter in part.parameters())))


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor on the processor, in memory of its own; for one that is spread, a meeting of all processes."""
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.detach().to("cpu").contiguous().clone()


def put(target: torch.Tensor, value: torch.Tensor) -> None:
    """Write ``value``, a whole tensor, into ``target``, of which this process may hold a part only."""
    with torch.no_grad():
        if isinstance(target, DTensor):
            value = distribute_tensor(
                value.to(target.device), target.device_mesh, target.placements, src_data_rank=None
            ).to_local()
            target.to_local().copy_(value)
        else:
            target.copy_(value)


def like(target: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """``value``, a whole tensor, laid out as ``target`` is and where it is."""
    value = value.to(target.device)
    if isinstance(target, DTensor):
        return distribute_tensor(value, target.device_mesh, target.placements, src_data_rank=None)
    return value


def number(value: torch.Tensor) -> float:
    """A tensor of one element as a number, the same in every process."""
    return float(value.full_tensor() if isinstance(value, DTensor) else value)
