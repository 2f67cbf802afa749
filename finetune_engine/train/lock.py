"""One process for one output folder: an advisory lock held for the life of the process."""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none; the supervisor's lease still guards the job there
    fcntl = None  # type: ignore[assignment]


class FolderBusy(Exception):
    """Another process works in this folder."""


def take_lock(folder: Path) -> int | None:
    """Lock ``folder/lock`` until this process ends; returns the descriptor to keep (None where unsupported).

    Raises FolderBusy at once when another process holds it. The kernel frees it however the holder dies.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as taken:
        os.close(descriptor)
        raise FolderBusy(str(folder)) from taken
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
