"""Folders that exist whole or not at all: written aside, synced, named by a manifest, then renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune_engine.errors import EngineError
from finetune_engine.train.failpoints import failpoint

MANIFEST = "manifest.json"
ASIDE = ".tmp-"


def commit_folder(target: Path, write: Callable[[Path], None], *, name: str) -> str:
    """Let ``write`` fill a new folder, then make it appear as ``target``; returns the SHA-256 of its manifest.

    The order is that of a crash-safe commit: files synced, manifest, folder synced, rename, parent synced.
    An older ``target`` is replaced. Raises EngineError ``disk_full``; whatever fails, nothing half-written stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=ASIDE, dir=target.parent))
    try:
        failpoint(name, "before")
        write(aside)
        manifest = _manifest(aside)
        text = json.dumps(manifest, indent=1, sort_keys=True)
        (aside / MANIFEST).write_text(text, encoding="utf-8")
        _sync_file(aside / MANIFEST)
        _sync_folder(aside)
        os.chmod(aside, 0o755)  # noqa: S103 - mkdtemp makes it private; a server may run as another user
        if target.exists():
            remove_folder(target)
        failpoint(f"{name}_rename", "before")
        os.rename(aside, target)
        _sync_folder(target.parent)
        failpoint(f"{name}_rename", "after")
    except Exception as problem:
        shutil.rmtree(aside, ignore_errors=True)
        if is_disk_full(problem):
            raise EngineError("disk_full", f"There is no room left on the disk for {target.name}.") from problem
        raise
    failpoint(name, "after")
    return hashlib.sha256(text.encode()).hexdigest()


def verify_folder(folder: Path) -> str | None:
    """The SHA-256 of the manifest when every file is as it says, else None (missing, cut short, changed)."""
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        files = json.loads(text)["files"]
        for name, known in files.items():
            path = folder / name
            if path.stat().st_size != known["size"] or _sha256(path) != known["sha256"]:
                return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return hashlib.sha256(text.encode()).hexdigest() if files else None


def remove_folder(folder: Path) -> None:
    """Remove a committed folder; its manifest goes first, so that a half-removed one never verifies."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def sweep_aside(parent: Path) -> None:
    """Remove what an earlier process left half-written."""
    for left in parent.glob(f"{ASIDE}*"):
        shutil.rmtree(left, ignore_errors=True)


def is_disk_full(problem: BaseException) -> bool:
    """Whether an exception (or what caused it) is about lack of room; safetensors tells it only in words."""
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    if "No space left on device" in str(problem) or "Disk quota exceeded" in str(problem):
        return True
    return problem.__cause__ is not None and is_disk_full(problem.__cause__)


def _manifest(folder: Path) -> dict[str, Any]:
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            _sync_file(path)
            files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": _sha256(path)}
    return {"files": files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    if os.name == "posix":
        _sync_file(path)
