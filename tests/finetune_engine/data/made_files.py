"""Files the reader tests make: workbooks, broken archives, tables."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from finetune_engine.data.detection import detect_format
from finetune_engine.data.readers import RecordSource, open_records
from finetune_engine.data.records import Draft, RawRecord


def letters(count: int = 12) -> list[list[Any]]:
    """A header and ``count`` rows of text and label."""
    return [["text", "label"], *([f"letter number {i} about a parcel", "ab"[i % 2]] for i in range(count))]


def workbook(path: Path, sheets: Mapping[str, Iterable[Iterable[Any]]]) -> Path:
    """A workbook with these sheets, rows of cells each."""
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(list(row))
    book.save(path)
    return path


def with_parts(source: Path, out: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """The same archive with every part put through ``change(name, bytes)``."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            new.writestr(part.filename, change(part.filename, old.read(part)))
    return out


def sheet_xml(path: Path, out: Path, xml: bytes) -> Path:
    """The same workbook with its first sheet replaced by ``xml``."""
    return with_parts(path, out, lambda name, data: xml if name.endswith("sheet1.xml") else data)


def sheet_of(cells: str) -> bytes:
    """The XML of a sheet with these rows."""
    head = '<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    return f"{head}<sheetData>{cells}</sheetData></worksheet>".encode()


def text_cell(place: str, text: str) -> str:
    """A cell that holds its text itself."""
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


def values(source: RecordSource | Path) -> list[dict[str, Any] | None]:
    """The values of all records."""
    opened = source if isinstance(source, RecordSource) else open_records(source)
    return [record.value for record in opened.records()]


def only_record(path: Path, **options: Any) -> RawRecord:
    """The one record of a file."""
    (record,) = open_records(path, **options).records()
    return record


def complaint(path: Path, **options: Any) -> str:
    """The sentence about the first record that has a finding."""
    record = next(r for r in open_records(path, **options).records() if r.findings)
    return record.findings[0].placed(record.row, record.line, record.sheet).message


def draft_of(row: dict[str, Any], mapping: Any = None) -> tuple[str, Draft]:
    """``(format name, draft)`` of a file with this one row."""
    record = RawRecord(1, 1, row, "")
    detected = detect_format([record], name="a.jsonl", mapping=mapping)
    assert detected is not None
    return detected.format.name, detected.convert(row)
