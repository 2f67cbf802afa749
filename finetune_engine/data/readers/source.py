"""One door for every kind of file: open it, and get its records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from finetune_engine.data.readers.array import read_json_array
from finetune_engine.data.readers.byte_stream import ByteSource, open_source
from finetune_engine.data.readers.file_kinds import SUPPORTED, FileType, file_type, refuse_unsupported
from finetune_engine.data.readers.lines import read_json_lines
from finetune_engine.data.readers.table import Layout, find_layout, read_table
from finetune_engine.data.records import RawRecord
from finetune_engine.errors import Place, UserError

MAX_LINE_BYTES = 16 * 1024 * 1024
_PROSE = (".txt", ".md", ".rst", ".html", ".htm", ".xml", ".log", ".py")
_SAMPLE_BYTES = 8 * 1024 * 1024


@dataclass
class RecordSource:
    """A file whose records can be read, several times if need be."""

    name: str
    bytes: ByteSource
    file_type: FileType
    layout: Layout | None
    max_line_bytes: int

    @property
    def shown_type(self) -> str:
        """``jsonl``, ``json``, ``csv`` or ``tsv``."""
        return "tsv" if self.layout is not None and self.layout.delimiter == "\t" else self.file_type

    @property
    def has_lines(self) -> bool:
        """Whether a record stands on one line of the file."""
        return self.file_type == "jsonl"

    def records(self) -> Iterator[RawRecord]:
        """All records from the start, lazily."""
        blocks = self.bytes.blocks()
        if self.layout is not None:
            return read_table(blocks, self.layout, self.max_line_bytes)
        if self.file_type == "json":
            return read_json_array(blocks, self.max_line_bytes)
        return read_json_lines(blocks, self.max_line_bytes)

    def sample(self, count: int) -> list[RawRecord]:
        """The first ``count`` records, fewer when they are very large."""
        out: list[RawRecord] = []
        held = 0
        for record in islice(self.records(), count):
            out.append(record)
            held += len(record.original)
            if held > _SAMPLE_BYTES:
                break
        return out


def open_records(
    path: Path, *, name: str | None = None, max_line_bytes: int = MAX_LINE_BYTES, scan_bytes: int | None = None
) -> RecordSource:
    """Find out what ``path`` is.

    ``name`` is the file's original name. ``scan_bytes`` limits the look for the encoding (None: the whole file).
    UserError: ``empty_file``, ``header_only``, ``encoding``, ``unsupported_file``, ``wrong_shape``.
    """
    shown = name or path.name
    refuse_unsupported(path, shown)
    source = open_source(path, name=shown, scan_bytes=scan_bytes)
    start = next((b for b in source.blocks() if b.strip()), b"")
    kind = file_type(start, shown)
    if kind != "csv":
        return RecordSource(shown, source, kind, None, max_line_bytes)
    if b"\0" in start[:4096] and start[:4096].count(b"\0") > len(start[:4096]) // 10:
        raise UserError(
            "unsupported_file",
            f"{shown} does not hold text, so it cannot be read. Choose a file with text.",
            place=Place(file=shown, found="a binary file", expected="text"),
        )
    layout = find_layout(start[: 1 << 18], shown)
    if layout is None:
        raise UserError("empty_file", f"{shown} is empty. Choose a file with one example per row.")
    if shown.lower().removesuffix(".gz").endswith(_PROSE) and layout.agreement < 0.9:
        raise UserError(
            "unsupported_file",
            f"{shown} is running text, not a list of examples. Put one example per row in a table with the columns "
            "prompt and completion, or text and label.",
            place=Place(file=shown, found="running text", expected=SUPPORTED),
        )
    opened = RecordSource(shown, source, kind, layout, max_line_bytes)
    _refuse_header_only(opened, layout)
    return opened


def _refuse_header_only(source: RecordSource, layout: Layout) -> None:
    if next(source.records(), None) is None:
        raise UserError(
            "header_only",
            f"{source.name} has a header ({', '.join(layout.columns[:8])}) and no rows below it. "
            "Add one example per row.",
            place=Place(file=source.name, row=1, found="only a header", expected="at least one row below the header"),
        )
