"""Runs the site's programs side by side: prefixed logs, restarts, and one orderly end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO

from work_kit.child import command

COLOURS = {"web": 36, "cpu": 32, "gpu": 35, "remote": 95, "beat": 34, "model": 33, "queue": 90, "site": 37}
QUICK_DEATH_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 30.0


@dataclass
class Program:
    """One program. ``stop_seconds`` is how long it may take to end; ``order`` says who ends first (lowest). Of several of one
    ``kind`` each has its number behind the name."""

    name: str
    arguments: list[str]
    order: int = 0
    stop_seconds: float = 10.0
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    started_at: float = 0.0
    pause_seconds: float = 1.0
    restart_at: float = 0.0

    @property
    def kind(self) -> str:
        """What ``--only`` chooses by: the name without its number."""
        return self.name.rstrip("0123456789")


class Processes:
    """Starts programs, restarts those that die, and ends them all. Children cannot outlive this process."""

    def __init__(self, programs: list[Program], *, out: IO[str] | None = None) -> None:
        self.programs = programs
        self._out = out or sys.stdout
        self._lock = threading.Lock()
        self._colour = self._out.isatty()
        self._ending = threading.Event()

    def say(self, name: str, line: str) -> None:
        """Print one line under a program's name."""
        label = f"{name:>6} │ "
        if self._colour:
            label = f"\x1b[{COLOURS.get(name.rstrip('0123456789'), 37)}m{label}\x1b[0m"
        with self._lock:
            self._out.write(label + line.rstrip("\n") + "\n")
            self._out.flush()

    def start(self, programs: Iterable[Program]) -> None:
        """Start these of the programs."""
        for program in programs:
            self._launch(program)

    def watch(self, until: Callable[[], bool] | None = None) -> None:
        """Restart what dies, until told to end (or until ``until()`` is true)."""
        while not self._ending.wait(0.3):
            if until is not None and until():
                return
            for program in self.programs:
                self._revive(program)

    def end(self, *args: object) -> None:
        """Ask for the end; safe in a signal handler."""
        self._ending.set()

    def stop(self) -> None:
        """End all programs, in order, and wait for them."""
        self._ending.set()
        for order in sorted({program.order for program in self.programs}):
            group = [program for program in self.programs if program.order == order]
            for program in group:
                _signal(program, signal.SIGTERM)
            deadline = time.monotonic() + max(program.stop_seconds for program in group)
            for program in group:
                _wait(program, deadline - time.monotonic())

    def _launch(self, program: Program) -> None:
        program.started_at = time.monotonic()
        program.process = subprocess.Popen(
            command(*program.arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **program.environment},
        )
        threading.Thread(target=self._relay, args=(program.name, program.process.stdout), daemon=True).start()

    def _relay(self, name: str, stream: IO[str]) -> None:
        for line in stream:
            self.say(name, line)

    def _revive(self, program: Program) -> None:
        process = program.process
        if process is None or process.poll() is None:
            return
        now = time.monotonic()
        if program.restart_at == 0.0:
            quick = now - program.started_at < QUICK_DEATH_SECONDS
            program.pause_seconds = min(program.pause_seconds * 2, LONGEST_PAUSE_SECONDS) if quick else 1.0
            program.restart_at = now + program.pause_seconds
            self.say("site", f"{program.name} ended ({process.returncode}); again in {program.pause_seconds:.0f} s")
        elif now >= program.restart_at:
            program.restart_at = 0.0
            self._launch(program)


def _signal(program: Program, number: int) -> None:
    if program.process is not None and program.process.poll() is None:
        try:
            os.kill(program.process.pid, number)
        except ProcessLookupError:
            pass


def _wait(program: Program, seconds: float) -> None:
    if program.process is None:
        return
    try:
        program.process.wait(max(0.1, seconds))
    except subprocess.TimeoutExpired:
        try:
            os.killpg(program.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        program.process.wait()
