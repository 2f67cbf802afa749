"""Telling what a file is from its first bytes, not from what it is called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import orjson

from finetune_engine.errors import Place, UserError

FileType = Literal["jsonl", "json", "csv"]
SUPPORTED = "JSON lines (.jsonl), a JSON list (.json), or a table (.csv or .tsv), each also gzipped"

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old or password-protected Office file",
        "Open it and save it as CSV UTF-8.",
    ),
    (b"%PDF", "a PDF", "Copy its examples into a table and save that as CSV UTF-8."),
    (b"PAR1", "a Parquet file", "Export it as CSV or JSON lines."),
    (b"BZh", "a bzip2 archive", "Unpack it and upload the file inside."),
    (b"\xfd7zXZ", "an xz archive", "Unpack it and upload the file inside."),
    (b"7z\xbc\xaf", "a 7-zip archive", "Unpack it and upload the file inside."),
    (b"Rar!", "a RAR archive", "Unpack it and upload the file inside."),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive", "Unpack it and upload the file inside."),
    (b"\x89PNG", "a picture", "Choose a file with text."),
    (b"\xff\xd8\xff", "a picture", "Choose a file with text."),
    (b"GIF8", "a picture", "Choose a file with text."),
    (b"\x7fELF", "a program", "Choose a file with text."),
    (b"MZ\x90", "a program", "Choose a file with text."),
    (b"SQLite format 3", "a database", "Export the table as CSV UTF-8."),
    (b"{\\rtf", "a rich-text document", "Copy its examples into a table and save that as CSV UTF-8."),
)


def refuse_unsupported(path: Path, shown: str) -> None:
    """UserError ``unsupported_file`` when the first bytes are those of a kind we do not read."""
    with path.open("rb") as disk:
        head = disk.read(4096)
    kind = _office_or_zip(path, head) if head.startswith(b"PK") else None
    for magic, what, way_out in _MAGIC:
        if head.startswith(magic):
            kind = (what, way_out)
            break
    if kind is None:
        return
    what, way_out = kind
    raise UserError(
        "unsupported_file",
        f"{shown} is {what}, which cannot be read here. {way_out}",
        place=Place(file=shown, found=what, expected=SUPPORTED, fix=way_out),
    )


def _office_or_zip(path: Path, head: bytes) -> tuple[str, str]:
    with path.open("rb") as disk:
        disk.seek(max(0, path.stat().st_size - 65536))
        names = head + disk.read()
    if b"xl/" in names:
        return "an Excel workbook", "In Excel choose “Save as” and “CSV UTF-8”, then upload that."
    if b"word/" in names:
        return "a Word document", "Copy its examples into a table and save that as CSV UTF-8."
    return "a zip archive", "Unpack it and upload the file inside."


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
