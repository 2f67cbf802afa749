"""One door for every kind of file: open it, and get its records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from finetune_engine.data.readers.array import read_json_array
from finetune_engine.data.readers.byte_stream import BLOCK, ByteSource, open_source
from finetune_engine.data.readers.file_kinds import SUPPORTED, FileType, binary_type, file_type, misnamed
from finetune_engine.data.readers.lines import read_json_lines
from finetune_engine.data.readers.object_lists import ObjectOfLists, holds_lists, list_names
from finetune_engine.data.readers.packed import Unpacked, first_bytes
from finetune_engine.data.readers.parquet import ParquetTable, open_parquet
from finetune_engine.data.readers.table import Layout, find_layout, read_table
from finetune_engine.data.readers.workbook import Workbook, open_workbook, others_passed_over
from finetune_engine.data.records import RawRecord
from finetune_engine.errors import Place, UserError

MAX_LINE_BYTES = 16 * 1024 * 1024
_PROSE = (".txt", ".md", ".rst", ".html", ".htm", ".xml", ".log", ".py")
_SAMPLE_BYTES = 8 * 1024 * 1024
_NAMES_BYTES = 16 * 1024 * 1024


@dataclass
class RecordSource:
    """A file whose records can be read, several times if need be.

    ``notes`` are warnings about the file as a whole, ``[{code, message}]``. ``sheet`` names the sheet of a workbook
    that was read. ``has_lists`` says that the file is one object of lists of rows; ``wanted`` are those to read, None
    for all.
    """

    name: str
    bytes: ByteSource
    file_type: FileType
    layout: Layout | None
    max_line_bytes: int
    notes: list[dict[str, str]] = field(default_factory=list)
    sheet: str | None = None
    has_lists: bool = False
    wanted: tuple[str, ...] | None = None
    table: Workbook | ParquetTable | None = None
    unpacked: Unpacked | None = None

    @property
    def shown_type(self) -> str:
        """``jsonl``, ``json``, ``csv``, ``tsv``, ``xlsx`` or ``parquet``."""
        return "tsv" if self.layout is not None and self.layout.delimiter == "\t" else self.file_type

    @property
    def has_lines(self) -> bool:
        """Whether a record stands on one line of the file."""
        return self.file_type == "jsonl"

    def records(self) -> Iterator[RawRecord]:
        """All records from the start, lazily."""
        if self.table is not None:
            return self.table.records(self.max_line_bytes)
        blocks = self.bytes.blocks()
        if self.layout is not None:
            return read_table(blocks, self.layout, self.max_line_bytes)
        if self.has_lists:
            return iter(ObjectOfLists(blocks, self.max_line_bytes, self.wanted))
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

    def lists(self) -> tuple[str, ...]:
        """The names of the lists in a file that is one object of lists (those of its first 16 MB); else none."""
        if not self.has_lists:
            return ()
        records = iter(ObjectOfLists(self.bytes.blocks(), self.max_line_bytes))
        return list_names(_until(records, self.bytes, _NAMES_BYTES))


def _until(records: Iterator[RawRecord], source: ByteSource, limit: int) -> Iterator[RawRecord]:
    for record in records:
        yield record
        if source.consumed > limit:
            return


def open_records(
    path: Path,
    *,
    name: str | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
    scan_bytes: int | None = None,
    lists: Sequence[str] | None = None,
) -> RecordSource:
    """Find out what ``path`` is.

    ``name`` is the file's original name. ``scan_bytes`` limits the look for the encoding (None: the whole file).
    ``lists`` names the lists to read of a file that is one object of lists (None: all). UserError: ``empty_file``,
    ``header_only``, ``encoding``, ``unsupported_file``, ``sheet_too_large``, ``bad_mapping``.
    """
    shown = name or path.name
    opened = _open_table(path, shown, max_line_bytes) or _open_text(path, shown, max_line_bytes, scan_bytes)
    if (warning := misnamed(opened.file_type, shown)) is not None:
        opened.notes.insert(0, warning)
    if lists is not None and opened.has_lists:
        opened.wanted = tuple(lists)
        _check_lists(opened)
    return opened


def _open_table(path: Path, shown: str, max_line_bytes: int) -> RecordSource | None:
    """A workbook or a Parquet file, also gzipped; None for a file of text."""
    with path.open("rb") as disk:
        head = disk.read(4096)
    source = ByteSource(path, gzipped=head[:2] == b"\x1f\x8b", name=shown)
    if source.gzipped:
        head = first_bytes(source)
        if not head.startswith((b"PK", b"PAR1")):
            binary_type(path, head, shown)
            return None
    elif (kind := binary_type(path, head, shown)) is None:
        return None
    unpacked = Unpacked(source) if source.gzipped else None
    inside = unpacked.path if unpacked else path
    kind = binary_type(inside, head, shown)
    opened = RecordSource(shown, source, kind or "xlsx", None, max_line_bytes, unpacked=unpacked)
    if kind == "parquet":
        opened.table = open_parquet(inside, source, shown)
    else:
        book = open_workbook(inside, source, shown)
        opened.table, opened.sheet = book, book.sheet
        if (warning := others_passed_over(book, shown)) is not None:
            opened.notes.append(warning)
    opened.layout = opened.table.layout
    return opened


def _open_text(path: Path, shown: str, max_line_bytes: int, scan_bytes: int | None) -> RecordSource:
    source = open_source(path, name=shown, scan_bytes=scan_bytes)
    start = next((b for b in source.blocks() if b.strip()), b"")
    kind = file_type(start, shown)
    if kind != "csv":
        opened = RecordSource(shown, source, kind, None, max_line_bytes)
        is_object = kind == "json" and start.lstrip()[:1] == b"{"
        opened.has_lists = is_object and holds_lists(start, is_whole=len(start) < BLOCK // 2)
        return opened
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


def _check_lists(source: RecordSource) -> None:
    names = source.lists()
    for name in source.wanted or ():
        if name not in names:
            raise UserError(
                "bad_mapping",
                f"{source.name} has no list “{name}”. Its lists are {', '.join(names[:20])}.",
                field="mapping",
                place=Place(file=source.name, column=name, found=", ".join(names[:20]), expected=name),
            )


def _refuse_header_only(source: RecordSource, layout: Layout) -> None:
    if next(source.records(), None) is None:
        raise UserError(
            "header_only",
            f"{source.name} has a header ({', '.join(layout.columns[:8])}) and no rows below it. "
            "Add one example per row.",
            place=Place(file=source.name, row=1, found="only a header", expected="at least one row below the header"),
        )
