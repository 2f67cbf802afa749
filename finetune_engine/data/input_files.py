"""The files of one import, opened and understood before any row is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_engine.data.detection import SAMPLE_ROWS, Detected, detect_format
from finetune_engine.data.options import PrepareOptions, SourceOptions, for_files
from finetune_engine.data.readers.source import RecordSource, open_records
from finetune_engine.data.records import RawRecord

_READABLE = 10


@dataclass
class InputFile:
    """One file. ``detected`` is None when no row of it could be read; ``rows`` and ``first_row`` are known once read."""

    source: RecordSource
    detected: Detected | None
    rows: int = 0
    first_row: int = 1

    @property
    def name(self) -> str:
        """What the person calls the file."""
        return self.source.name

    @property
    def format_name(self) -> str | None:
        """The format of its rows."""
        return self.detected.format.name if self.detected else None

    def understood(self) -> Detected:
        """How to read its rows. A file without one readable row gets a stand-in, so that every row has its finding."""
        if self.detected is not None:
            return self.detected
        from finetune_engine.data.formats import format_named

        messages = format_named("messages")
        assert messages is not None
        return Detected(messages, None, ())

    def columns(self) -> list[str]:
        """The columns of the file, in their order."""
        if self.source.layout is not None:
            return list(self.source.layout.columns)
        return list(self.detected.columns) if self.detected else []

    def as_dict(self) -> dict[str, Any]:
        """The entry of ``report.json``."""
        mapping = self.detected.mapping if self.detected else None
        return {
            "name": self.name,
            "format": self.format_name,
            "file_type": self.source.shown_type,
            "sheet": self.source.sheet,
            "encoding": self.source.bytes.encoding,
            "delimiter": self.source.layout.delimiter if self.source.layout else None,
            "columns": self.columns(),
            "mapping": mapping.as_dict() if mapping else None,
            "rows": self.rows,
            "first_row": self.first_row,
        }


def open_files(paths: Sequence[Path], options: PrepareOptions) -> list[InputFile]:
    """Every file, with its format found out. UserError names the file that cannot be used and says why."""
    chosen = for_files(options, len(paths)).sources
    return [_open(path, choices, options) for path, choices in zip(paths, chosen, strict=True)]


def _open(path: Path, choices: SourceOptions, options: PrepareOptions) -> InputFile:
    lists = choices.mapping.lists if choices.mapping else None
    source = open_records(path, name=choices.name, max_line_bytes=options.max_line_bytes, lists=lists)
    sample = source.sample(SAMPLE_ROWS)
    if not any(record.value for record in sample):
        # A sample without a readable row looks further down before giving up.
        sample = _first_readable(source)
    detected = detect_format(sample, name=source.name, wanted=choices.format, mapping=choices.mapping)
    return InputFile(source, detected)


def _first_readable(source: RecordSource) -> list[RawRecord]:
    found: list[RawRecord] = []
    for record in source.records():
        if record.value:
            found.append(record)
            if len(found) >= _READABLE:
                break
    return found
