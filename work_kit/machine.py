"""What this machine is called, what it has, and what its kernel did about memory."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import psutil
from django.conf import settings

from work_kit.operations import DeviceFacts, Resources

_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 2**60  # cgroup v1 writes a huge number for "no limit"
_SMI = ["nvidia-smi", "--query-gpu=index,name,memory.total,memory.free", "--format=csv,noheader,nounits"]


def host_name() -> str:
    """This machine, as pages name it."""
    return os.environ.get("WORKER_HOST") or socket.gethostname()


def device_name() -> str:
    """What this worker computes on: ``cuda:<index>`` when it is given one GPU, else ``cpu``. ``WORKER_DEVICE`` names a
    share of a machine, so that several workers can compute side by side on its processor."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return os.environ.get("WORKER_DEVICE") or (f"cuda:{visible}" if visible and visible != "-1" else "cpu")


def resources() -> Resources:
    """Memory and disk of this machine, in bytes; a container's limit counts as its memory."""
    total, free = memory()
    return Resources(total, free, free_disk())


def memory() -> tuple[int, int]:
    """``(total, free)`` bytes that processes here may use."""
    machine = psutil.virtual_memory()
    limit, used = _cgroup_memory()
    if limit is None:
        return int(machine.total), int(machine.available)
    return min(limit, int(machine.total)), min(max(0, limit - used), int(machine.available))


def free_disk() -> int:
    """Free bytes where the work folders lie."""
    folder = Path(settings.WORK_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    return int(shutil.disk_usage(folder).free)


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed for want of memory, here or in this container; 0 where it does not say."""
    for path in (_CGROUP / "memory.events", _CGROUP / "memory" / "memory.oom_control", Path("/proc/vmstat")):
        try:
            for line in path.read_text().splitlines():
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    return int(number)
        except (OSError, ValueError):
            continue
    return 0


def resident_bytes(pid: int) -> int:
    """Memory that a process and its children hold, in bytes; 0 when they are gone."""
    try:
        process = psutil.Process(pid)
        return sum(_resident(one) for one in [process, *process.children(recursive=True)])
    except psutil.Error:
        return 0


def devices() -> list[DeviceFacts]:
    """The graphics cards as their driver describes them, and the processor. Never imports torch."""
    total, free = memory()
    return [*_cards(), DeviceFacts("cpu", f"{os.cpu_count()} processors", total, free)]


def _cards() -> list[DeviceFacts]:
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        told = subprocess.run(_SMI, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in told.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 4:
            index, label, total, free = fields
            found.append(DeviceFacts(f"cuda:{index}", label[:120], _mebibytes(total), _mebibytes(free)))
    return found


def _mebibytes(text: str) -> int | None:
    return int(text) * 2**20 if text.isdigit() else None


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _cgroup_memory() -> tuple[int | None, int]:
    """``(limit, used)`` of this container; ``used`` leaves out what the kernel can drop at once (file pages)."""
    for limit_name, used_name, stat_name in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        try:
            limit = int((_CGROUP / limit_name).read_text())
            used = int((_CGROUP / used_name).read_text())
            pages = dict(line.split() for line in (_CGROUP / stat_name).read_text().splitlines())
        except (OSError, ValueError):
            continue
        if limit < _UNLIMITED:
            return limit, max(0, used - int(pages.get("inactive_file", 0)))
    return None, 0
