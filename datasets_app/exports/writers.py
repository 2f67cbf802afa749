"""Lines as bytes, made while they are sent."""

from __future__ import annotations

import csv
import io
import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from django.utils.translation import gettext as _

from datasets_app.exports.cells import guarded
from datasets_app.exports.rows import BATCH, ExportRow, has_instructions, longest_text
from datasets_app.exports.shapes import cells
from finetune_engine.errors import UserError
from web_kit.wording import number_words

T = TypeVar("T")
LONGEST_CELL = 32_767  # characters; Excel cuts what is longer
MOST_SHEET_ROWS = 200_000  # a workbook is built as a whole before it is sent
_AT_ONCE = 500
_BLOCK = 1 << 20


def jsonl_parts(lines: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """One object per line, UTF-8, byte for byte what was frozen."""
    for some in _batched(lines):
        yield b"".join(_json(line) + b"\n" for line in some)


def json_parts(lines: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """One list of objects, an object per line."""
    before = b"[\n"
    for some in _batched(lines):
        yield before + b",\n".join(_json(line) for line in some)
        before = b",\n"
    yield b"\n]\n" if before != b"[\n" else b"[]\n"


def csv_parts(path: Path, rows: Iterable[ExportRow], with_split: bool) -> Iterator[bytes]:
    """A table with a heading. The byte order mark tells spreadsheets that it is UTF-8."""
    with_system = has_instructions(path)
    yield "\N{BYTE ORDER MARK}".encode() + _csv([_heading(with_system, with_split)])
    for some in _batched(rows):
        yield _csv([_cells(row, with_system, with_split) for row in some])


def xlsx_parts(path: Path, rows: Iterable[ExportRow], with_split: bool) -> Iterator[bytes]:
    """A workbook with one sheet. It is written to a temporary file first, row by row."""
    from openpyxl import Workbook

    with_system = has_instructions(path)
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Examples")
    sheet.append(_heading(with_system, with_split))
    for row in rows:
        sheet.append(_cells(row, with_system, with_split))
    with tempfile.TemporaryFile() as file:
        book.save(file)
        file.seek(0)
        while block := file.read(_BLOCK):
            yield block


def check_workbook(path: Path) -> None:
    """Raises UserError for what Excel cannot hold: too many rows, or a text longer than a cell."""
    import pyarrow.parquet as pq

    if pq.read_metadata(path).num_rows > MOST_SHEET_ROWS:
        raise UserError(
            "too_many_rows",
            _("An Excel workbook is made for up to %(n)s rows here. Choose the CSV table instead.")
            % {"n": number_words(MOST_SHEET_ROWS)},
            field="format",
        )
    if longest_text(path) >= LONGEST_CELL:
        raise UserError(
            "cell_too_long",
            _("A text is longer than the %(n)s characters that a cell of Excel can hold. Choose the CSV table instead.")
            % {"n": number_words(LONGEST_CELL)},
            field="format",
        )


def parquet_of_split(path: Path, split: str) -> Iterator[bytes]:
    """The stored rows of one split as a Parquet file of its own."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile() as target:
        with pq.ParquetFile(path) as source, pq.ParquetWriter(target, source.schema_arrow, compression="zstd") as out:
            for batch in source.iter_batches(BATCH, use_threads=False):
                out.write_batch(batch.filter(pc.equal(batch["split"], split)))
        target.seek(0)
        while block := target.read(_BLOCK):
            yield block


def _heading(with_system: bool, with_split: bool) -> list[str]:
    return ["input", "output", *(["system"] if with_system else []), *(["split"] if with_split else [])]


def _cells(row: ExportRow, with_system: bool, with_split: bool) -> list[str]:
    prompt, answer, system = map(guarded, cells(row))
    return [prompt, answer, *([system] if with_system else []), *([row.split] if with_split else [])]


def _csv(lines: list[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(lines)
    return out.getvalue().encode()


def _json(line: dict[str, Any]) -> bytes:
    text = json.dumps(line, ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a character, which UTF-8 has no bytes for
        return json.dumps(line).encode()


def _batched(items: Iterable[T]) -> Iterator[list[T]]:
    walk = iter(items)
    while some := list(itertools.islice(walk, _AT_ONCE)):
        yield some
