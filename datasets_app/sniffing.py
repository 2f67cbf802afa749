"""What an uploaded file seems to be. The look itself happens in a limited child process (``sniff_child``)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage

from datasets_app.choices import format_title
from datasets_app.models import Upload
from finetune_engine.errors import UserError
from work_kit.files import fetch_to

TIMEOUT_SECONDS = 25
KEPT_LOOKS = 3
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")


@dataclass(frozen=True)
class FirstLook:
    """What a file seems to be. ``format`` is "" when none fits; then ``problem`` says what to do.

    ``rows`` holds up to 20 records ``{row, line, original, messages, label, problem, status, reasons}``, cleaned as the
    project decided; ``lines`` is the number of lines of a line-based file, None for others. ``lists`` are the names of
    the lists in a file that is one object of lists. ``error`` is set when the file cannot be used at all.
    """

    format: str = ""
    format_title: str = ""
    file_type: str = ""
    encoding: str = ""
    columns: list[str] = field(default_factory=list)
    mapping: dict[str, Any] | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    lines: int | None = None
    problem: str = ""
    lists: list[str] = field(default_factory=list)
    warnings: list[dict[str, str]] = field(default_factory=list)
    error: dict[str, Any] = field(default_factory=dict)

    @property
    def row_count(self) -> int | None:
        """About how many rows: lines, less the header of a table. None when that would need the whole file."""
        if self.lines is None:
            return None
        return max(0, self.lines - (1 if self.file_type.lower() in {"csv", "tsv"} else 0))

    @property
    def left_out(self) -> int:
        """How many of the rows that were looked at would be rejected."""
        return sum(row.get("status") == "rejected" for row in self.rows)

    @property
    def held_back(self) -> int:
        """How many would wait for a person."""
        return sum(row.get("status") == "needs_review" for row in self.rows)


def first_look(upload: Upload, options: dict[str, Any]) -> FirstLook:
    """Look at the beginning of an upload with these options of an import. The latest answers are kept with the upload."""
    key = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
    kept = dict((upload.preview or {}).get("looks") or [])
    if key in kept:
        return _read(kept[key])
    with file_on_disk(upload) as path:
        answer = _ask_child(path, upload.name, options)
    if not answer.get("error", {}).get("is_passing"):
        kept[key] = answer
        upload.preview = {"looks": list(kept.items())[-KEPT_LOOKS:]}
        Upload.objects.filter(pk=upload.pk).update(preview=upload.preview)
    return _read(answer)


@contextmanager
def file_on_disk(upload: Upload) -> Iterator[Path]:
    """The upload as a file: where it lies when the storage is this machine's disk, else a copy for the moment."""
    if upload.deleted_at is not None:
        raise UserError("upload_deleted", "This file was deleted. Upload it again.", status=409)
    try:
        yield Path(default_storage.path(upload.storage_name))
        return
    except NotImplementedError:
        pass
    with tempfile.TemporaryDirectory(dir=settings.FILE_UPLOAD_TEMP_DIR) as folder:
        yield fetch_to(Path(folder) / "upload", upload.storage_name)


def _ask_child(path: Path, name: str, options: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "datasets_app.sniff_child", str(path), name]
    environment = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
    environment |= {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    try:
        done = subprocess.run(
            command,
            cwd=settings.BASE_DIR,
            env=environment,
            input=json.dumps(options).encode(),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError):
        sentence = (
            f"{name} could not be looked at within the limits of a preview. You can still import it: "
            "the import checks it row by row and says what is wrong."
        )
        return {"error": {"code": "no_preview", "message": sentence, "is_passing": True}}
    return answer


def _read(answer: dict[str, Any]) -> FirstLook:
    preview = answer.get("preview")
    if preview is None:
        return FirstLook(error=answer.get("error") or {})
    return FirstLook(
        format=preview["format"] or "",
        format_title=format_title(preview["format"]) if preview["format"] else "",
        file_type=preview["file_type"],
        encoding=preview["encoding"],
        columns=preview["columns"],
        mapping=preview["mapping"],
        rows=preview["rows"],
        lines=preview["lines"],
        problem=preview["problem"] or "",
        lists=preview.get("lists") or [],
        warnings=preview.get("warnings") or [],
    )
