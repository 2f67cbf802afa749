"""Which models may be asked for: a JSON file that the site writes and this process reads again when it changes.

``{"models": [{"model_id", "base_model": {...}, "adapter": path|null, "digest", "backend"?}]}``; ``backend`` is
``in_process`` (also where it is left out) or ``vllm``. Writers replace the file
in one move (write beside, rename), so that it is never read half.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.backends.models import LOCAL_BACKENDS, ModelFiles


class ModelRegistry:
    """Finds the files of a model id. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._models: dict[str, ModelFiles] = {}
        self._lock = threading.Lock()

    def resolve(self, model_id: str) -> ModelFiles:
        """The files of a model. Raises UserError with status 404 for one that is not in the file."""
        with self._lock:
            self._refresh()
            files = self._models.get(model_id)
        if files is None:
            sentence = f"The model '{model_id}' does not exist or is not deployed."
            raise UserError("model_not_found", sentence, "model", reason="model_unavailable", status=404)
        return files

    def _refresh(self) -> None:
        try:
            stat = self._path.stat()
            # A replaced file has another inode even when clock and size agree.
            mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if mark == self._seen:
                return
            entries = json.loads(self._path.read_text(encoding="utf-8"))["models"]
            self._models = {files.model_id: files for files in map(_files_of, entries)}
            self._seen = mark
        except FileNotFoundError:
            self._models, self._seen = {}, None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError) as problem:
            message = f"the list of models {self._path} cannot be read: {problem}"
            raise EngineError("model_unavailable", message) from problem


def _files_of(entry: dict[str, Any]) -> ModelFiles:
    adapter, backend = entry.get("adapter"), entry.get("backend", "in_process")
    if backend not in LOCAL_BACKENDS:
        raise ValueError(f"there is no backend {backend!r}")
    return ModelFiles(
        model_id=str(entry["model_id"]),
        base=BaseModelRef.from_dict(entry["base_model"]),
        adapter=Path(str(adapter)) if adapter else None,
        digest=str(entry["digest"]),
        backend=backend,
    )
