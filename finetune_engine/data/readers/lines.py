"""JSON lines: one record per line, read as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from finetune_engine.data.readers.json_mistakes import (
    duplicate_key_finding,
    duplicate_keys,
    explain,
    loads,
    not_an_object,
    too_deep,
)
from finetune_engine.data.records import Finding, RawRecord


@dataclass(slots=True)
class Oversized:
    """A line that was passed over because it is too large. ``size`` in bytes."""

    size: int


def split_lines(blocks: Iterable[bytes], max_bytes: int) -> Iterator[tuple[int, bytes | Oversized]]:
    """``(line number from 1, line without its end)``; holds at most ``max_bytes`` plus a block in memory."""
    number = 0
    held: list[bytes] = []
    size = 0
    dropping = False
    old_mac: bool | None = None
    for block in blocks:
        if old_mac is None:
            old_mac = b"\n" not in block and b"\r" in block
        if old_mac:
            block = block.replace(b"\r", b"\n")
        pieces = block.split(b"\n")
        for piece in pieces[:-1]:
            number += 1
            size += len(piece)
            if dropping or size > max_bytes:
                yield number, Oversized(size)
            else:
                line = b"".join((*held, piece)) if held else piece
                yield number, line.removesuffix(b"\r")
            held, size, dropping = [], 0, False
        size += len(pieces[-1])
        if size > max_bytes:
            held, dropping = [], True
        elif pieces[-1]:
            held.append(pieces[-1])
    if dropping:
        yield number + 1, Oversized(size)
    elif held:
        yield number + 1, b"".join(held).removesuffix(b"\r")


def read_json_lines(blocks: Iterable[bytes], max_bytes: int) -> Iterator[RawRecord]:
    """One record per line that is not blank. A bad line is a record with a finding, never an exception."""
    row = 0
    for number, line in split_lines(blocks, max_bytes):
        if isinstance(line, Oversized):
            row += 1
            yield RawRecord(row, number, None, "", [too_large(line.size, max_bytes)])
        elif line and not line.isspace():
            row += 1
            yield parse_line(row, number, line)


def parse_line(row: int, number: int | None, line: bytes) -> RawRecord:
    """The record on one line."""
    try:
        value = loads(line)
    except orjson.JSONDecodeError as error:
        return _bad_line(row, number, line, error)
    record = RawRecord(row, number, None, line.decode())
    if not isinstance(value, dict):
        record.findings.append(not_an_object(value))
        return record
    if (deep := too_deep(line, value)) is not None:
        record.findings.append(deep)
        return record
    record.value = value
    if twice := duplicate_keys(line, value):
        record.findings.append(duplicate_key_finding(twice))
    return record


def _bad_line(row: int, number: int | None, line: bytes, error: orjson.JSONDecodeError) -> RawRecord:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return RawRecord(row, number, None, line.decode("utf-8", "replace"), [undecodable(wrong.start)])
    if "\0" in text:
        return RawRecord(row, number, None, text, [nul_byte(text.index("\0"))])
    return RawRecord(row, number, None, text, [explain(text, str(error), error.pos)])


def undecodable(position: int) -> Finding:
    """The finding for bytes that are not UTF-8 in a file that otherwise is. ``position`` is a byte offset."""
    return Finding(
        "encoding",
        f"has characters that are not UTF-8 (byte {position + 1}). Save the file as UTF-8 or mend the row.",
        column=str(position + 1),
        found="a byte that is not UTF-8",
        expected="UTF-8 text",
        fix="Save the file as UTF-8 or mend the row.",
    )


def nul_byte(position: int) -> Finding:
    """The finding for a NUL character. ``position`` counts characters from 0."""
    return Finding(
        "nul_byte",
        f"has an empty (NUL) character at column {position + 1}. Remove it; it often comes from a broken export.",
        column=str(position + 1),
        found="a NUL character",
        expected="text",
        fix="Remove the character.",
    )


def too_large(size: int, limit: int) -> Finding:
    """The finding for a row that was passed over unread. Sizes in bytes."""
    return Finding(
        "line_too_large",
        f"is {size / 1e6:.1f} MB long; the most a row may have is {limit / 1e6:.1f} MB. Split it or remove it.",
        found=f"{size} bytes",
        expected=f"at most {limit} bytes",
        fix="Split the row or remove it.",
    )
