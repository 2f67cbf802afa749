"""Looks at the machine and its services the way a person would who is asked "why does it not work?"."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection

from jobs_app.queries import catalogue, catalogue_problem
from serving_app.queries import fresh_replicas
from work_kit.queries import workers

LOW_DISK_BYTES = 5 * 2**30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``bad`` means that the site cannot work like this."""

    subject: str
    state: Literal["ok", "note", "bad"]
    sentence: str


def diagnose() -> list[Finding]:
    """All findings, in the order in which one would look."""
    looks: list[Callable[[], list[Finding]]] = [
        _python, _packages, _machine, _gpus, _disk, _database, _queue, _storage, _workers, _confinement, _catalogue,
    ]  # fmt: skip
    return [finding for look in looks for finding in look()]


def _python() -> list[Finding]:
    return [Finding("Python", "ok", sys.version.split()[0])]


def _packages() -> list[Finding]:
    found = []
    for name, needed_for in (("torch", "training here"), ("transformers", "training here"), ("peft", "training here")):
        try:
            found.append(Finding(name, "ok", importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            found.append(Finding(name, "note", f"not installed; needed for {needed_for}: make install"))
    return found


def _machine() -> list[Finding]:
    memory = psutil.virtual_memory()
    sentence = (
        f"{psutil.cpu_count()} processors, {memory.total / 2**30:.0f} GB memory ({memory.available / 2**30:.0f} free)"
    )
    return [Finding("Machine", "ok", sentence)]


def _gpus() -> list[Finding]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return [
            Finding("Graphics cards", "note", "none found; small models train on the processor, large ones need a card")
        ]
    try:
        listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (subprocess.SubprocessError, OSError) as error:
        return [Finding("Graphics cards", "bad", f"nvidia-smi is there but fails ({error}); check the driver")]
    return [Finding("Graphics card", "ok", line.split(" (UUID")[0]) for line in listed.splitlines() if line]


def _disk() -> list[Finding]:
    free = shutil.disk_usage(settings.DATA_DIR).free
    sentence = f"{free / 2**30:.0f} GB free in {settings.DATA_DIR}"
    work = Path(settings.WORK_DIR)
    if work.is_dir():
        size = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
        sentence += (
            f"; {size / 2**20:.0f} MB are work folders of jobs; each project's page House-keeping says what can go"
        )
    return [Finding("Disk", "ok" if free > LOW_DISK_BYTES else "note", sentence)]


def _database() -> list[Finding]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        tables = "accounts_user" in connection.introspection.table_names()
    except DatabaseError as error:
        return [Finding("Database", "bad", f"does not answer ({str(error).strip()}); check DATABASE_URL")]
    if not tables:
        return [Finding("Database", "note", f"{connection.vendor} answers but is empty; make serve prepares it")]
    return [Finding("Database", "ok", f"{connection.vendor} answers")]


def _queue() -> list[Finding]:
    import redis

    try:
        redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=3, socket_timeout=3).ping()
    except (redis.RedisError, OSError) as error:
        if str(settings.EMBEDDED_REDIS_SOCKET) in settings.REDIS_URL:
            return [Finding("Queue", "note", "the embedded queue is not running; it starts with the site (make serve)")]
        return [Finding("Queue", "bad", f"Redis does not answer ({error}); check REDIS_URL. Jobs wait meanwhile")]
    return [Finding("Queue", "ok", "Redis answers")]


def _storage() -> list[Finding]:
    name = f"doctor/{uuid.uuid4().hex}"
    try:
        stored = default_storage.save(name, ContentFile(b"probe"))
        with default_storage.open(stored) as file:
            same = file.read() == b"probe"
        default_storage.delete(stored)
    except Exception as error:  # every storage backend raises its own classes
        return [Finding("Storage", "bad", f"cannot be used ({type(error).__name__}: {error}); check STORAGE_URL")]
    return [Finding("Storage", "ok" if same else "bad", "written, read and removed a file")]


def _workers() -> list[Finding]:
    try:
        there = workers()
        replicas = fresh_replicas()
    except DatabaseError:
        return []
    names = ", ".join(worker.name for worker in there)
    found = [
        Finding("Workers", "ok" if there else "note", names or "none is running; jobs wait until one is (make serve)")
    ]
    sentence = (
        f"{len(replicas)} running" if replicas else "none is running; models do not answer until one is (make serve)"
    )
    found.append(Finding("Model servers", "ok" if replicas else "note", sentence))
    return found


def _confinement() -> list[Finding]:
    """Whether uploaded files are read by a process without network. Asked of a child: it would cost us ours."""
    program = "import sys; from work_kit.child import leave_network; sys.exit(0 if leave_network() else 1)"
    done = subprocess.run([sys.executable, "-c", program], cwd=settings.BASE_DIR, timeout=20, check=False)
    if done.returncode == 0:
        return [Finding("Uploaded files", "ok", "are read by a process without network and with limited memory")]
    sentence = (
        "are read by a process with limited memory, but this system does not let it give up the network "
        "(user namespaces are off: sysctl kernel.unprivileged_userns_clone, or the container's seccomp profile)"
    )
    return [Finding("Uploaded files", "note", sentence)]


def _catalogue() -> list[Finding]:
    problem = catalogue_problem()
    if problem:
        return [Finding("Base models", "bad", problem)]
    return [Finding("Base models", "ok", f"{len(catalogue())} in the catalogue")]
