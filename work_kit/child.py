"""Becomes a program that cannot outlive the process that started it.

Run as ``python -m work_kit.child PARENT_PID PROGRAM ARGUMENTS...``, where PROGRAM is a module (as for ``python -m``) or
the absolute path of an executable. On Linux the kernel kills the program when its parent dies, however it dies;
elsewhere a thread watches for the parent (modules only). Imports nothing heavy: it becomes the program.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the program."""
    parent, program, arguments = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)
    if os.path.isabs(program):
        os.execv(program, [program, *arguments])  # noqa: S606  no shell is wanted
    sys.argv = [program, *arguments]
    runpy.run_module(program, run_name="__main__", alter_sys=True)


def command(program: str, *arguments: str) -> list[str]:
    """The command line that starts ``program`` as a child of the calling process."""
    return [sys.executable, "-m", "work_kit.child", str(os.getpid()), program, *arguments]


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
