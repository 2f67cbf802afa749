"""Moves folders between a worker's disk and the file storage."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage

from finetune_engine.errors import EngineError

MANIFEST = "manifest.json"


def fetch_to(path: Path, storage_name: str) -> Path:
    """Copy one stored file to ``path`` (whole, or not at all)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with default_storage.open(storage_name, "rb") as source, open(temporary, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    temporary.replace(path)
    return path


def store_file(path: Path, storage_name: str) -> str:
    """Store one file; returns the name it got."""
    with open(path, "rb") as file:
        return str(default_storage.save(storage_name, File(file)))


def store_tree(folder: Path, prefix: str) -> list[str]:
    """Store a folder under a fresh prefix, its ``manifest.json`` last, so that a manifest that is there means a
    whole folder. Returns the names, relative to the prefix."""
    names = sorted(str(PurePosixPath(*path.relative_to(folder).parts)) for path in folder.rglob("*") if path.is_file())
    names.sort(key=lambda name: name == MANIFEST)
    for name in names:
        stored = store_file(folder / name, f"{prefix}/{name}")
        if stored != f"{prefix}/{name}":
            raise EngineError("internal", f"the storage prefix {prefix} is not fresh: {name} was there already")
    return names


def read_manifest(prefix: str) -> dict[str, Any]:
    """The manifest under a prefix: ``{"files": {name: {"size", "sha256"}}}``. Raises EngineError without one."""
    try:
        with default_storage.open(f"{prefix}/{MANIFEST}", "rb") as file:
            manifest: dict[str, Any] = json.loads(file.read())
    except FileNotFoundError as error:
        raise EngineError("storage_unreachable", f"{prefix} has no manifest in the storage") from error
    return manifest


def local_copy(prefix: str) -> Path:
    """A folder on this machine with what is stored under the prefix, verified against its manifest.

    Storage on this machine's own disk is used where it lies; else the folder is fetched once and kept in the cache.
    """
    try:
        return Path(default_storage.path(prefix))
    except NotImplementedError:
        pass
    manifest = read_manifest(prefix)
    digest = hashlib.sha256(json.dumps([prefix, manifest], sort_keys=True).encode()).hexdigest()
    target = Path(settings.CACHE_DIR) / digest[:32]
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = fetch_tree(prefix, Path(tempfile.mkdtemp(dir=target.parent)))
    try:
        os.rename(temporary, target)
    except OSError:  # another process was first
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def fetch_tree(prefix: str, folder: Path) -> Path:
    """Fetch what is stored under the prefix into ``folder``, verified against its manifest. Returns ``folder``."""
    manifest = read_manifest(prefix)
    for name in [*manifest["files"], MANIFEST]:
        fetch_to(folder / name, f"{prefix}/{name}")
    verify_tree(folder, manifest)
    return folder


def verify_tree(folder: Path, manifest: dict[str, Any] | None = None) -> None:
    """Raises EngineError unless every file of the manifest is there with its size and SHA-256."""
    if manifest is None:
        manifest = json.loads((folder / MANIFEST).read_text())
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != expected["size"] or file_sha256(path) != expected["sha256"]:
            raise EngineError("internal", f"{path} is not what its manifest says")


def file_sha256(path: Path) -> str:
    """The file's SHA-256 as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def delete_tree(prefix: str) -> None:
    """Remove everything stored under the prefix."""
    folders, files = default_storage.listdir(prefix)
    for name in files:
        default_storage.delete(f"{prefix}/{name}")
    for name in folders:
        delete_tree(f"{prefix}/{name}")
    default_storage.delete(prefix)
