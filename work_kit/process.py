"""The child process of an attempt: started, watched, ended with its whole group, and understood afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
from django.conf import settings

from work_kit import machine
from work_kit.child import command, confined_command
from work_kit.choices import Reason, StopAction

GRACE_SECONDS = {StopAction.CANCEL: 4.0, StopAction.PAUSE: 120.0, StopAction.STOP_AND_KEEP: 600.0}
KILL_AFTER_SIGTERM_SECONDS = 4.0
WATCH_SECONDS = 1.0
BUSY = 4  # the engine's exit code when another process holds the folder
_SECRETS = (
    "SECRET_KEY",
    "DATABASE_URL",
    "REDIS_URL",
    "STORAGE_URL",
    "METRICS_TOKEN",
    "EMAIL_URL",
    "AWS_",
    "OPENAI_API_KEY",
)


class Child:
    """A freshly exec'ed program in a process group of its own, which dies with this process."""

    def __init__(
        self,
        program: str,
        arguments: list[str],
        *,
        events: Path,
        errors: Path,
        confined: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        begin = confined_command if confined else command
        self.kills_before = machine.out_of_memory_kills()
        self.starved = False  # we ended it because the machine ran out of memory
        self._told = ""
        self._told_at = self._watched_at = time.monotonic()
        with open(events, "ab") as out, open(errors, "ab") as err:
            self.process = subprocess.Popen(
                begin(program, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                cwd=settings.BASE_DIR,
                env=child_environment(environment or {}),
            )

    def insist(self, action: str) -> None:
        """Give the child the grace of what it was told, counted from when it was told so, then SIGTERM, then SIGKILL, to
        the whole group. While it is told to go on or to hold, nothing is asked of it."""
        if action != self._told:
            self._told, self._told_at = action, time.monotonic()
        if action not in GRACE_SECONDS:
            return
        over = time.monotonic() - self._told_at - GRACE_SECONDS[StopAction(action)]
        if over > KILL_AFTER_SIGTERM_SECONDS:
            kill_group(self.process.pid, signal.SIGKILL)
        elif over > 0:
            kill_group(self.process.pid, signal.SIGTERM)

    def watch_memory(self) -> None:
        """End the child before the kernel has to choose a victim, if it is the one that fills the machine."""
        if time.monotonic() - self._watched_at < WATCH_SECONDS:
            return
        self._watched_at = time.monotonic()
        total, free = machine.memory()
        if free < settings.MINIMUM_FREE_MEMORY_BYTES and machine.resident_bytes(self.process.pid) > total // 4:
            self.starved = True
            kill_group(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Leave nothing of the child's group alive."""
        kill_group(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def reason(self, code: int) -> Reason:
        """Why a child that said nothing ended as it did."""
        killed = code == -signal.SIGKILL
        if self.starved or (killed and machine.out_of_memory_kills() > self.kills_before):
            return Reason.OOM_HOST
        if machine.free_disk() < 2**20:
            return Reason.DISK_FULL
        return Reason.WORKER_LOST if code in {-signal.SIGKILL, -signal.SIGTERM} else Reason.INTERNAL


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The supervisor's environment without its secrets, and with what a shared machine needs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}
    root = str(settings.BASE_DIR)
    kept["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [kept.get("PYTHONPATH")])])
    return {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"} | kept | dict(extra)


def kill_group(pid: int, number: int) -> None:
    """Signal a child's whole group; one that is gone is no mistake."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def end_former(out: Path) -> bool:
    """End the process that an earlier holder of the lease left working in ``out`` (its supervisor is frozen, so nothing
    else ends it). Returns whether there was one. The caller holds the lease, so whoever else works there is fenced."""
    try:
        pid = int((out / "lock").read_text())
        process = psutil.Process(pid)
        if str(out) not in process.cmdline():  # the number belongs to another program by now
            return False
    except (OSError, ValueError, psutil.Error):
        return False
    kill_group(pid, signal.SIGKILL)
    psutil.wait_procs([process], timeout=10)
    return True
