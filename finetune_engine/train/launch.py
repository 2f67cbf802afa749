"""Several processes that train one model together, and how they are started. Free of torch.

The process that was asked to train is the first of them and starts the others itself; it alone speaks to the world. They
stay in its process group and end with it, however it ends: a launcher such as torchrun starts each process in a session
of its own, where a supervisor's signal does not reach them. Started by torchrun (for several machines), every process
finds its place in torchrun's environment variables and none starts another.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from finetune_engine.errors import EngineError
from finetune_engine.events import Event, Sink, StreamSink, parse_lines
from finetune_engine.ports import Stopped

MEETING_FILE = "TUNESMITH_MEETING_FILE"
FOLLOWS = "TUNESMITH_FOLLOWS"
OTHER = [sys.executable, "-m", "finetune_engine", "train", "-"]
ENDED_WELL = (0, 3)  # done, or stopped as the first process was
GRACE_SECONDS = 10.0
LEAVE_SECONDS = 120.0


@dataclass(frozen=True)
class Place:
    """Where a process stands among those that train together. Ranks count from 0.

    ``local_rank`` and ``local_size`` are those on its own machine: the number of its GPU, and how many share the cores.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int


def place() -> Place | None:
    """This process's place by torchrun's environment variables; None for a process that trains alone."""
    if int(os.environ.get("WORLD_SIZE") or 1) < 2:
        return None
    size, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    local_rank = int(os.environ.get("LOCAL_RANK") or rank)
    return Place(rank, size, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE") or size))


def is_first() -> bool:
    """Whether this process speaks to the world: it emits events, hears instructions, holds the lock and writes files."""
    found = place()
    return found is None or found.rank == 0


class ErrorsOnly:
    """The events of a process that is not the first: only its errors are told."""

    def __init__(self, sink: StreamSink) -> None:
        self._sink = sink

    def emit(self, event: Event) -> None:
        """Pass errors on, drop the rest."""
        if event.kind == "error":
            self._sink.emit(event)


def follow() -> None:
    """In a process that another one started: leave stopping to the first, and end at once when it is gone.

    The first process holds the other end of standard input; however it dies, the kernel closes it.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.environ.get(FOLLOWS):
        threading.Thread(target=_end_with_input, daemon=True).start()


def _end_with_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


@contextmanager
def together(sink: Sink, spec: dict[str, Any], out: Path, processes: int) -> Iterator[None]:
    """Inside, this process is the first of ``processes`` that carry out ``spec``; with fewer than 2 nothing happens.

    Raises what is raised inside, or EngineError with the reason of another process when that one failed first.
    """
    if processes < 2 or place() is not None:
        yield
        return
    before = dict(os.environ)
    # A file to meet at: unlike a port, nobody else can take it between choosing and using it.
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        shared = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
        os.environ.update(shared | _rank(0) | {MEETING_FILE: str(Path(folder) / "meeting")})
        others = Others(sink, spec | {"out": str(out)}, processes)
        try:
            yield
            others.leave()
        except Stopped:
            others.leave()
            raise
        except RuntimeError as problem:
            # A process that dies breaks the connection of the others: tell its reason, not the broken connection.
            raise (others.cause(GRACE_SECONDS) or problem) from problem
        finally:
            others.kill()
            os.environ.clear()
            os.environ.update(before)


def _rank(number: int) -> dict[str, str]:
    return {"RANK": str(number), "LOCAL_RANK": str(number)}


class Others:
    """The processes beside the first. A failure of one ends the run, even while the first waits for it in vain."""

    def __init__(self, sink: Sink, spec: dict[str, Any], processes: int) -> None:
        self._sink = sink
        self._problem: EngineError | None = None
        self._failed = threading.Event()
        self._is_over = threading.Event()
        self._processes = [self._start(number, spec) for number in range(1, processes)]
        self._readers = [threading.Thread(target=self._read, args=(one,), daemon=True) for one in self._processes]
        for reader in self._readers:
            reader.start()

    def leave(self) -> None:
        """Wait until every process has ended by itself (for a while; then they are killed)."""
        self._is_over.set()
        for reader in self._readers:
            reader.join(LEAVE_SECONDS)

    def cause(self, seconds: float) -> EngineError | None:
        """Why one of the processes failed, waiting so long for the news; None when all is well with them."""
        self._failed.wait(seconds)
        self._is_over.set()
        return self._problem

    def kill(self) -> None:
        """End every process that is still there."""
        self._is_over.set()
        for process in self._processes:
            process.kill()
            process.wait()

    def _start(self, number: int, spec: dict[str, Any]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            OTHER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | _rank(number) | {FOLLOWS: "1"},
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(spec) + "\n")
        process.stdin.flush()
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Drain a process's output; when it ends badly, end the run unless the first process does so itself."""
        told = _errors(process.stdout)
        code = process.wait()
        if code in ENDED_WELL or self._is_over.is_set():
            return
        self._problem = self._problem or _problem(told, code)
        self._failed.set()
        if not self._is_over.wait(GRACE_SECONDS * 2):
            problem = self._problem
            data = {"reason": problem.reason, "code": problem.reason, "message": problem.message}
            self._sink.emit(Event("error", time.time(), data))
            os._exit(1)


def _errors(stdout: IO[str] | None) -> list[dict[str, Any]]:
    return [event.data for event in parse_lines(iter(stdout or ())) if event.kind == "error"]


def _problem(told: list[dict[str, Any]], code: int) -> EngineError:
    """What a process said of its failure, or that it was killed."""
    if told and told[0].get("reason") not in (None, "internal"):
        return EngineError(told[0]["reason"], str(told[0].get("message")), dict(told[0].get("details") or {}))
    ended = f"was killed (signal {-code})" if code < 0 else f"ended with code {code}"
    words = f": {told[0]['message']}" if told else ""
    return EngineError("worker_lost", f"One of the processes that train together {ended}{words}.", {"code": code})
