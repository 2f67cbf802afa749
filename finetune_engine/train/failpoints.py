"""Deterministic faults for tests: ``TUNESMITH_FAILPOINT=<write>[#n]:<before|after>:<kill|stop|raise>``.

``#n`` strikes at the n-th passage of this process instead of the first. With ``TUNESMITH_FAILPOINT_MARK=<file>`` it strikes
once in all: whoever makes that file. ``TUNESMITH_FAILPOINT_VICTIM=child|parent`` kills or stops the process on the other
side of a supervisor and its trainer instead of this one.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

_passed: Counter[str] = Counter()


def failpoint(write: str, moment: str) -> None:
    """Die, freeze or raise here when the environment says so; otherwise nothing."""
    wanted = os.environ.get("TUNESMITH_FAILPOINT")
    if not wanted:
        return
    place, when, how = [*wanted.split(":"), "", ""][:3]
    name, _, number = place.partition("#")
    if name != write or when != moment:
        return
    _passed[wanted] += 1
    if _passed[wanted] == int(number or 1) and _is_first(os.environ.get("TUNESMITH_FAILPOINT_MARK")):
        _strike(how, wanted)


def _is_first(mark: str | None) -> bool:
    if not mark:
        return True
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _strike(how: str, wanted: str) -> None:
    if how not in {"kill", "stop"}:
        raise RuntimeError(f"failpoint {wanted}")
    number = signal.SIGKILL if how == "kill" else signal.SIGSTOP
    for victim in _victims(os.environ.get("TUNESMITH_FAILPOINT_VICTIM", "")):
        os.kill(victim, number)


def _victims(wanted: str) -> list[int]:
    """Process ids. Only Linux tells a process its children."""
    if wanted == "parent":
        return [os.getppid()]
    if wanted == "child":
        lists = Path("/proc/self/task").glob("*/children")
        return [int(text) for path in lists for text in path.read_text().split()]
    return [os.getpid()]
