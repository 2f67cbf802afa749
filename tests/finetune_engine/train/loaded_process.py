"""Trainers that begin with their libraries loaded: real processes, without eight seconds of imports each."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

PATIENCE_SECONDS = 240
PRELOADED = ["finetune_engine.train.backends.local_peft", "peft", "torch.distributed.fsdp", "torch.distributed.tensor"]


def start(
    spec: Path, out: Path, events: Path, environment: Mapping[str, str] | None = None, command: str = "train"
) -> BaseProcess:
    """A new process of a server that has torch imported and nothing else done; it carries out the command."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    told = (str(spec), str(out), str(events), dict(environment or {}), command)
    process = context.Process(target=carry_out, args=told)
    process.start()
    return process


def carry_out(spec: str, out: str, events: str, environment: dict[str, str], command: str) -> None:
    """In the new process: the command line, its events in a file."""
    os.environ.update(environment)
    from finetune_engine.__main__ import main

    descriptor = os.open(events, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    sys.exit(main([command, spec, "--out", out]))


def start_team(size: int, spec: Path, out: Path, events: Path) -> list[BaseProcess]:
    """Processes that train together, each told its place as torchrun would; they meet at a file."""
    meeting = events.with_suffix(".meeting")
    meeting.unlink(missing_ok=True)
    shared = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "TUNESMITH_MEETING_FILE": str(meeting)}
    return [
        start(
            spec,
            out,
            events if rank == 0 else events.with_suffix(f".{rank}"),
            shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(size)
    ]


def wait_for(claim: Callable[[], bool]) -> None:
    """Wait for a state of another process."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not claim():
        assert time.monotonic() < deadline, "the other process did not get on"
        time.sleep(0.002)
