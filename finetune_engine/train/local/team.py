"""The processes that train one model together, as one of them sees them: meeting, agreeing, adding up.

What the first of them decides (go on, pause, stop) is decided for all. torch.distributed is imported where it is used:
a process that trains alone starts sooner without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from finetune_engine.ports import ACTIONS, Action, Run, StopSignal
from finetune_engine.train.launch import MEETING_FILE, place

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

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
        import torch.distributed as dist

        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return [float(value) for value in total]

    def agreed(self, value: T) -> T:
        """What the first process has for ``value``, in every process."""
        if self.is_alone:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0, device=CPU)
        return box[0]

    def gathered(self, value: T) -> list[T]:
        """Every process's ``value``, by rank."""
        if self.is_alone:
            return [value]
        import torch.distributed as dist

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
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(found.local_rank)
    # Words between processes go by gloo even on GPUs: they need not wait for what a GPU computes.
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    meeting: dict[str, Any] = {"timeout": MEETING}
    if path := os.environ.get(MEETING_FILE):
        store = dist.FileStore(path, found.size)  # type: ignore[attr-defined]
        meeting |= {"store": store, "rank": found.rank, "world_size": found.size}
    dist.init_process_group(backend, **meeting)
    mesh = init_device_mesh("cuda" if on_gpu else "cpu", (found.size,))
    yield Team(found.rank, found.size, found.local_size, mesh)
    # Not after an error: somebody may be missing, and the farewell is a meeting too.
    dist.destroy_process_group()


@dataclass
class SharedStop:
    """A stop signal that says in every process what it says in the first. Asking is a meeting."""

    team: Team
    stop: StopSignal

    def action(self) -> Action:
        """The first process's instruction."""
        import torch.distributed as dist

        told = torch.tensor(ACTIONS.index(self.stop.action()) if self.team.is_first else 0)
        dist.broadcast(told, src=0)
        return ACTIONS[int(told)]


def shared(run: Run, team: Team) -> Run:
    """The run with a stop signal that all processes of the team hear alike."""
    return run if team.is_alone else replace(run, stop=SharedStop(team, run.stop))
