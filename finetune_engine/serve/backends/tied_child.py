"""``python -m finetune_engine.serve.backends.tied_child PARENT PROGRAM ...``: run a program that ends when PARENT does.

It leads a session of its own. Told to end, or once its parent is gone, it asks the program to end and, after a while, kills
the whole group: a server of models leaves processes behind that hold a GPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 15.0


def main() -> None:
    """Start the program and end with it; its exit code is ours."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    try:
        program = subprocess.Popen(command)
    except OSError as problem:
        sys.stderr.write(f"{command[0]} cannot be started: {problem}\n")
        raise SystemExit(127) from problem
    while program.poll() is None and not ending.is_set() and os.getppid() == parent:
        ending.wait(0.2)
    if program.poll() is None:
        program.terminate()
        _wait(program, GRACE_SECONDS)
    code = program.poll()
    # Nobody of the group outlives the program. We are of the group ourselves, so this is the last thing we do.
    if code is None or _has_others():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(0, signal.SIGKILL)
    raise SystemExit(code if code is not None and code >= 0 else 1)


def _wait(program: subprocess.Popen[bytes], seconds: float) -> None:
    end = time.monotonic() + seconds
    while program.poll() is None and time.monotonic() < end:
        time.sleep(0.1)


def _has_others() -> bool:
    """Whether another process of our group lives; True where nobody can tell."""
    try:
        numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return True
    for number in numbers:
        with contextlib.suppress(OSError):
            if number != os.getpid() and os.getpgid(number) == os.getpgid(0):
                return True
    return False


if __name__ == "__main__":
    main()
