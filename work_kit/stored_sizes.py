"""How much lies under a prefix of the file storage, and in a work folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage


@dataclass(frozen=True)
class Size:
    """Some things and their bytes. ``items`` counts files, or what the caller counts instead."""

    items: int = 0
    size: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.items + other.items, self.size + other.size)


def stored_size(prefix: str) -> Size:
    """Files and bytes under a prefix. An object store is asked for its list, a thousand entries a call."""
    bucket = getattr(default_storage, "bucket", None)
    if bucket is not None:
        location = str(getattr(default_storage, "location", "") or "").strip("/")
        whole = f"{location}/{prefix}".strip("/")
        return _sum(entry.size for entry in bucket.objects.filter(Prefix=f"{whole}/"))
    try:
        return folder_size(Path(default_storage.path(prefix)))
    except NotImplementedError:
        return _listed(prefix)


def _listed(prefix: str) -> Size:
    """For a storage that can do no more than Django asks of it."""
    try:
        folders, files = default_storage.listdir(prefix)
    except FileNotFoundError:
        return Size()
    found = _sum(default_storage.size(f"{prefix}/{name}") for name in files)
    for name in folders:
        found += _listed(f"{prefix}/{name}")
    return found


def folder_size(folder: Path) -> Size:
    """Files and bytes in a folder of this machine; nothing when it is not there."""
    sizes = []
    for where, _folders, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.lstat(os.path.join(where, name)).st_size)
            except FileNotFoundError:  # a trainer replaces its files while we look
                continue
    return _sum(sizes)


def work_folder(job_id: str) -> Path:
    """Where a job works on this machine."""
    return Path(settings.WORK_DIR) / job_id


def _sum(sizes: Iterable[int]) -> Size:
    counted = list(sizes)
    return Size(len(counted), sum(counted))
