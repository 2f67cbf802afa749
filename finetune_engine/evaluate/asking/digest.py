"""The content address of a local model: same digest, same answers."""

from __future__ import annotations

import hashlib
from pathlib import Path

from finetune_engine.catalogue.folder import USED_SUFFIXES
from finetune_engine.evaluate.asking.store import AnswerStore

ADAPTER_FILES = frozenset({"adapter_config.json"})


def folder_digest(folder: Path, store: AnswerStore) -> str:
    """SHA-256 over the names and contents of the files a model is made of; for an adapter, its weights and settings.

    Hashes are remembered in ``store``, so that a large base model is read once and not for every evaluation.
    """
    names = sorted(file.name for file in folder.iterdir() if file.is_file() and file.suffix in USED_SUFFIXES)
    if "adapter_config.json" in names:
        names = [name for name in names if name in ADAPTER_FILES or name.endswith(".safetensors")]
    whole = hashlib.sha256()
    for name in names:
        whole.update(f"{name}\0{store.digest_of_file(folder / name)}\n".encode())
    return whole.hexdigest()
