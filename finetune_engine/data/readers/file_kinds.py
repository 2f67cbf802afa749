"""Telling what a file is from its first bytes, not from what it is called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import orjson

from finetune_engine.data.readers.zip_contents import protected
from finetune_engine.errors import Place, UserError

FileType = Literal["jsonl", "json", "csv", "xlsx", "parquet"]
BinaryType = Literal["xlsx", "parquet"]
SUPPORTED = (
    "JSON lines (.jsonl), a JSON list (.json), a table (.csv or .tsv), an Excel workbook (.xlsx) or Parquet, "
    "each also gzipped"
)

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_LOOK = 8 << 20
_INTO_TABLE = "Copy its examples into a table and save that as .xlsx or CSV UTF-8."
_TAKE_OUT = "Unpack it and upload the file inside."
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"%PDF", "a PDF", _INTO_TABLE),
    (b"BZh", "a bzip2 archive", _TAKE_OUT),
    (b"\x1f\x8b", "a gzip archive inside a gzip archive", _TAKE_OUT),
    (b"\xfd7zXZ", "an xz archive", _TAKE_OUT),
    (b"7z\xbc\xaf", "a 7-zip archive", _TAKE_OUT),
    (b"Rar!", "a RAR archive", _TAKE_OUT),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive", _TAKE_OUT),
    (b"\x89PNG", "a picture", "Choose a file with text."),
    (b"\xff\xd8\xff", "a picture", "Choose a file with text."),
    (b"GIF8", "a picture", "Choose a file with text."),
    (b"\x7fELF", "a program", "Choose a file with text."),
    (b"MZ\x90", "a program", "Choose a file with text."),
    (b"SQLite format 3", "a database", "Export the table as CSV UTF-8."),
    (b"{\\rtf", "a rich-text document", _INTO_TABLE),
    (b"PARE", "an encrypted Parquet file", "Export it without encryption."),
    (b"ARROW1", "an Arrow file", "Export it as Parquet or JSON lines."),
    (b"Obj\x01", "an Avro file", "Export it as Parquet or JSON lines."),
)
# Names of parts that tell what a zip archive is, the most telling first.
_ZIPPED: tuple[tuple[bytes, str, str], ...] = (
    (b"xl/workbook.bin", "a binary Excel workbook (.xlsb)", "Open it in Excel and save it as .xlsx."),
    (b"word/", "a Word document", _INTO_TABLE),
    (b"ppt/", "a PowerPoint presentation", _INTO_TABLE),
    (b"opendocument.spreadsheet", "an OpenDocument sheet (.ods)", "Open it and save it as .xlsx."),
    (b"opendocument", "an OpenDocument file", _INTO_TABLE),
    (b"data.pkl", "the weights of a model", "Choose a file with examples."),
)


def binary_type(path: Path, head: bytes, shown: str) -> BinaryType | None:
    """``xlsx`` or ``parquet`` by the first bytes of an unpacked file, None for text.

    UserError ``unsupported_file`` when they are those of a kind we do not read.
    """
    if head.startswith(b"PAR1"):
        return "parquet"
    kind: tuple[str, str] | None = None
    if head.startswith(b"PK"):
        kind = _zipped(path, head)
        if kind is None:
            return "xlsx"
    elif head.startswith(_OLE):
        kind = _old_office(path, shown)
    elif head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30 and b"\0" in head[:8]:
        kind = ("the weights of a model (safetensors)", "Choose a file with examples.")
    for magic, what, way_out in _MAGIC:
        if head.startswith(magic):
            kind = (what, way_out)
            break
    if kind is None:
        return None
    what, way_out = kind
    raise UserError(
        "unsupported_file",
        f"{shown} is {what}, which cannot be read here. {way_out}",
        place=Place(file=shown, found=what, expected=SUPPORTED, fix=way_out),
    )


def _zipped(path: Path, head: bytes) -> tuple[str, str] | None:
    """What a zip archive is that is no workbook; None for a workbook."""
    with path.open("rb") as disk:
        disk.seek(max(0, path.stat().st_size - 65536))
        names = head + disk.read()
    for mark, what, way_out in _ZIPPED:
        if mark in names:
            return what, way_out
    return None if b"xl/" in names else ("a zip archive", _TAKE_OUT)


def _old_office(path: Path, shown: str) -> tuple[str, str]:
    """What an old Office container is. UserError for one that holds a protected workbook."""
    with path.open("rb") as disk:
        inside = disk.read(_OLE_LOOK)
    if "EncryptedPackage".encode("utf-16-le") in inside:
        raise protected(shown)
    if "WordDocument".encode("utf-16-le") in inside:
        return "an old Word document (.doc)", _INTO_TABLE
    return "an old Excel workbook (.xls)", "Open it in Excel and save it as .xlsx."


def expected_type(shown: str) -> FileType | None:
    """What the name promises, None when it promises nothing."""
    name = shown.lower().removesuffix(".gz")
    ends: dict[str, FileType] = {
        ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "csv", ".tab": "csv",
        ".xlsx": "xlsx", ".xlsm": "xlsx", ".xls": "xlsx", ".parquet": "parquet",
    }  # fmt: skip
    return next((kind for end, kind in ends.items() if name.endswith(end)), None)


_KINDS: dict[str, str] = {
    "jsonl": "JSON lines", "json": "JSON", "csv": "a table in text form (CSV)", "xlsx": "an Excel workbook",
    "parquet": "a Parquet file",
}  # fmt: skip


def misnamed(kind: FileType, shown: str) -> dict[str, str] | None:
    """The warning that a file is not what it is called, None when it is. JSON lines called .json are no surprise."""
    promised = expected_type(shown)
    if promised is None or promised == kind or {promised, kind} == {"json", "jsonl"}:
        return None
    ending = "." + shown.lower().removesuffix(".gz").rpartition(".")[2]
    message = f"{shown} is called {ending} but holds {_KINDS[kind]}. It was read as what it holds."
    return {"code": "other_file_type", "message": message}


def file_type(start: bytes, shown: str) -> FileType:
    """What the first bytes (UTF-8, no mark) hold; the name decides only where they leave it open."""
    name = shown.lower().removesuffix(".gz")
    text = start.lstrip()
    if text[:1] == b"[" and not _rows_of_lists(text):
        return "json"
    if text[:1] == b"{":
        return "json" if _one_object(text, name) else "jsonl"
    has_objects = re.search(rb"^[ \t]*\{", text, re.MULTILINE) is not None
    if text[:1] == b"[" or (has_objects and name.endswith((".jsonl", ".ndjson", ".json"))):
        return "jsonl"
    return "csv"


def _rows_of_lists(text: bytes) -> bool:
    """Whether a text that begins with ``[`` is JSON lines whose rows are lists."""
    first, newline, rest = text.partition(b"\n")
    return bool(newline) and first.rstrip().endswith(b"]") and rest.lstrip()[:1] in (b"[", b"{")


def _one_object(text: bytes, name: str) -> bool:
    """Whether a text that begins with ``{`` is one object over several lines, not a row per line."""
    first, newline, rest = text.partition(b"\n")
    try:
        orjson.loads(first)
        return name.endswith(".json") and not rest.strip()
    except orjson.JSONDecodeError:
        pass
    if first.rstrip() == b"{":
        return True
    if name.endswith((".jsonl", ".ndjson")):
        return False
    # A broken first row among whole ones is still JSON lines.
    return not re.search(rb"\n\{.*\}\s*(\n|$)", text[: 1 << 20]) if newline else True
