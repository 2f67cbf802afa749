"""Becomes a program that cannot outlive the process that started it.

Run as ``python -m work_kit.child PARENT_PID [--confined] PROGRAM ARGUMENTS...``, where PROGRAM is a module (as for
``python -m``) or the absolute path of an executable. On Linux the kernel kills the program when its parent dies, however
it dies; elsewhere a thread watches for the parent (modules only). ``--confined`` is for programs that read strangers' files:
no network where the kernel allows it, and an end to memory. Imports nothing heavy: it becomes the program.
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
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CONFINED = "--confined"
MEMORY_BYTES = 16 * 2**30  # of address space: thread pools and arenas reserve many times what they use
CPU_SECONDS = 6 * 3600  # a million rows take minutes


def main() -> None:
    """Tie this process to its parent, then become the program."""
    parent, rest = int(sys.argv[1]), sys.argv[2:]
    if rest[0] == _CONFINED:
        rest = rest[1:]
        leave_network()  # before the next step: a change of credentials would undo it
        limit_memory(MEMORY_BYTES)
        limit_cpu(CPU_SECONDS)
    program, arguments = rest[0], rest[1:]
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


def confined_command(program: str, *arguments: str) -> list[str]:
    """The same for a program that reads strangers' files: without network, and with an end to memory."""
    return command(_CONFINED, program, *arguments)


def leave_network() -> bool:
    """Give this process a network of its own, without any connection. Whether the kernel let it. Only while the process
    has one thread."""
    if sys.platform != "linux":
        return False
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    try:  # the same user and group as before, so that files stay ours
        for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(line)
    except OSError:
        pass  # the files of this user are readable all the same
    return True


def limit_memory(size: int) -> None:
    """Let this process and its children have ``size`` bytes of address space each at most."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    except (ImportError, ValueError, OSError):
        pass  # not this platform, or a lower limit holds already


def limit_cpu(seconds: int) -> None:
    """Let the kernel end this process after so many seconds of work."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    except (ImportError, ValueError, OSError):
        pass  # not this platform, or a lower limit holds already


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
