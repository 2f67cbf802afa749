"""Looking through a zip archive before anybody unpacks it: what it says of itself, and whether that is true."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from finetune_engine.errors import Place, UserError

MAX_UNPACKED = 512 << 20
MAX_RATIO = 200
_RATIO_FLOOR = 32 << 20
_MAX_PARTS = 5_000
_BLOCK = 1 << 18
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_DECLARATION = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)

Watcher = Callable[[bytes], None]


def look_through(path: Path, shown: str, watch: Callable[[str], Watcher | None]) -> list[str]:
    """Unpack every part of an archive once, block by block, keeping nothing; returns the names of the parts.

    ``watch(name)`` may give a function that is handed each block of that part. UserError ``unsupported_file`` for an
    archive that is damaged, unpacks to far more than it should or says, is protected, or holds a document type.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
        _check_directory(parts, path.stat().st_size, shown)
        with path.open("rb") as disk:
            for part in parts:
                _look_at(disk, part, shown, watch(part.filename))
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OSError, NotImplementedError) as error:
        raise damaged(shown) from error
    return [part.filename for part in parts]


def damaged(shown: str) -> UserError:
    """The error for a workbook that cannot be unpacked or understood."""
    return _refuse(
        shown,
        f"{shown} is an Excel workbook that is damaged or cut short. Open it in Excel, save it again and upload that.",
        "a damaged workbook",
    )


def _check_directory(parts: list[zipfile.ZipInfo], size: int, shown: str) -> None:
    """Refuse by the archive's own list of contents, before one byte is unpacked."""
    names = [part.filename for part in parts]
    if len(parts) > _MAX_PARTS or len(set(names)) < len(names):
        raise damaged(shown)
    if any(part.flag_bits & 0x1 for part in parts):
        raise protected(shown)
    if any(part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for part in parts):
        raise damaged(shown)
    _check_size(sum(part.file_size for part in parts), size, shown)


def _check_size(unpacked: int, packed: int, shown: str) -> None:
    if unpacked > MAX_UNPACKED:
        raise _refuse(
            shown,
            f"{shown} unpacks to more than {MAX_UNPACKED >> 20} MB, so it was not read. "
            "Save the sheet as CSV UTF-8 and upload that.",
            f"more than {MAX_UNPACKED >> 20} MB inside",
        )
    if unpacked > _RATIO_FLOOR and unpacked > MAX_RATIO * max(packed, 1):
        raise _refuse(
            shown,
            f"{shown} unpacks to more than {MAX_RATIO} times its size, so it was not read. "
            "Save the sheet as CSV UTF-8 and upload that.",
            f"more than {MAX_RATIO} times its size inside",
        )


def protected(shown: str) -> UserError:
    """The error for a workbook that needs a password."""
    return _refuse(
        shown,
        f"{shown} is protected by a password. Open it in Excel, remove the password under “File, Info, Protect "
        "Workbook”, save it and upload that.",
        "a file protected by a password",
    )


def _look_at(file: IO[bytes], part: zipfile.ZipInfo, shown: str, watch: Watcher | None) -> None:
    unpacked = 0
    before = b""
    for block in _blocks(file, part):
        unpacked += len(block)
        if unpacked > part.file_size:  # the list of contents lies
            raise damaged(shown)
        if _DECLARATION.search(before + block):
            raise _refuse(
                shown,
                f"{shown} holds a document type declaration, which no Excel workbook needs and which can be used to "
                "read other files. It was not read. Save the sheet as CSV UTF-8 and upload that.",
                "a document type declaration",
            )
        before = block[-16:]
        if watch is not None:
            watch(block)
    if unpacked != part.file_size:
        raise damaged(shown)


def _blocks(file: IO[bytes], part: zipfile.ZipInfo) -> Iterator[bytes]:
    """The unpacked bytes of one part, whatever sizes the archive claims."""
    file.seek(part.header_offset)
    header = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if header[0] != b"PK\x03\x04":
        raise zipfile.BadZipFile("no part where one should begin")
    file.seek(header[9] + header[10], 1)
    left = part.compress_size
    inflate = zlib.decompressobj(-15) if part.compress_type == zipfile.ZIP_DEFLATED else None
    while left > 0:
        packed = file.read(min(left, _BLOCK))
        if not packed:
            raise EOFError
        left -= len(packed)
        if inflate is None:
            yield packed
            continue
        while packed:
            block = inflate.decompress(packed, _BLOCK)
            packed = inflate.unconsumed_tail
            if block:
                yield block
            elif not packed:
                break
    if inflate is not None and not inflate.eof:
        raise EOFError


def _refuse(shown: str, sentence: str, found: str) -> UserError:
    return UserError("unsupported_file", sentence, place=Place(file=shown, found=found, expected="an Excel workbook"))
