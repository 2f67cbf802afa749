"""CSV and TSV with any of the usual delimiters, read as a stream."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from finetune_engine.data.readers.lines import Oversized, nul_byte, split_lines, too_large, undecodable
from finetune_engine.data.records import Finding, RawRecord

DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Layout:
    """How a table is laid out. ``header_line`` is the line the header stands on, from 1; ``agreement`` is the share
    of the first rows that have the usual width (0 when every row has one cell). ``delimiter`` is None where cells
    are not parted by a character."""

    delimiter: str | None
    header_line: int
    columns: tuple[str, ...]
    repeated: tuple[str, ...] = ()
    agreement: float = 1.0


def find_layout(start: bytes, name: str) -> Layout | None:
    """The layout seen in the first bytes of a file; None when there is no header."""
    text = start.decode("utf-8", "replace")
    if len(start) >= 1 << 16:
        text = text[: text.rfind("\n") + 1] or text
    lines = text.splitlines(keepends=True)[:200]
    best: tuple[float, str] | None = None
    for delimiter in DELIMITERS:
        score = _agreement(lines, delimiter)
        if delimiter == "\t" and name.lower().endswith((".tsv", ".tab", ".tsv.gz")):
            score += 0.5
        if best is None or score > best[0]:
            best = (score, delimiter)
    delimiter = best[1] if best and best[0] > 0 else ("\t" if name.lower().endswith((".tsv", ".tab")) else ",")
    return _header(lines, delimiter, best[0] if best else 0.0)


def _rows(lines: list[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """``(line number, cells)`` of the sample; stops at the first row that cannot be read."""
    csv.field_size_limit(1 << 30)
    reader = csv.reader(iter(lines), delimiter=delimiter)
    rows: list[tuple[int, list[str]]] = []
    begun = 0
    try:
        for cells in reader:
            rows.append((begun + 1, cells))
            begun = reader.line_num
    except csv.Error:
        pass
    return rows


def _agreement(lines: list[str], delimiter: str) -> float:
    """How well rows agree on a width above one: 0 to 1."""
    widths = [len(cells) for _, cells in _rows(lines, delimiter) if any(c.strip() for c in cells)]
    if not widths:
        return 0.0
    width, count = Counter(widths).most_common(1)[0]
    return count / len(widths) if width > 1 else 0.0


def _header(lines: list[str], delimiter: str, agreement: float) -> Layout | None:
    rows = [(line, cells) for line, cells in _rows(lines, delimiter) if any(c.strip() for c in cells)]
    return header_of(rows, delimiter, agreement)


def header_of(rows: list[tuple[int, list[str]]], delimiter: str | None, agreement: float) -> Layout | None:
    """The layout by the first rows that are not blank, ``(line, cells)``: the header is the first row that is as wide
    as most and has more than one cell filled. None for no rows."""
    if not rows:
        return None
    width = Counter(len(cells) for _, cells in rows).most_common(1)[0][0]
    full = (r for r in rows if len(r[1]) >= width and (width == 1 or sum(bool(c.strip()) for c in r[1]) > 1))
    line, cells = next(full, rows[0])
    names, repeated = distinct_names([c.strip() for c in cells])
    return Layout(delimiter, line, names, repeated, agreement)


def distinct_names(names: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names made unique ("text", "text 2") and blank ones filled in ("column 3"), with those that were repeated."""
    last = next((place for place in range(len(names), 1, -1) if names[place - 1]), 1)
    out: dict[str, int] = {}  # each name with the number that its next namesake may get: a header may be very wide
    repeated: list[str] = []
    for place, name in enumerate(names[:last], 1):
        wanted = name or f"column {place}"
        if wanted in out:
            repeated.append(wanted)
            number = out[wanted]
            while f"{wanted} {number}" in out:
                number += 1
            out[wanted] = number + 1
            wanted = f"{wanted} {number}"
        out[wanted] = 2
    return tuple(out), tuple(repeated)


class _Lines:
    """Feeds physical lines to the CSV reader and remembers those of the record in progress."""

    def __init__(self, lines: Iterator[tuple[int, bytes | Oversized]], max_bytes: int) -> None:
        self._lines = lines
        self._again: list[tuple[int, str]] = []
        self._limit = max_bytes
        self.record: list[tuple[int, str]] = []
        self.problem: tuple[int, Finding] | None = None
        self._held = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._again:
            number, text = self._again.pop()
        else:
            number, line = next(self._lines)
            text = self._text(number, line)
        self._held += len(text)
        self.record.append((number, text))
        if self._held > self._limit:
            raise csv.Error("too large")
        return text

    def _text(self, number: int, line: bytes | Oversized) -> str:
        if isinstance(line, Oversized):
            self.problem = (number, too_large(line.size, self._limit))
            return "\n"
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as wrong:
            self.problem = self.problem or (number, undecodable(wrong.start))
            text = line.decode("utf-8", "replace")
        if "\0" in text:
            self.problem = self.problem or (number, nul_byte(text.index("\0")))
            text = text.replace("\0", "")
        return text + "\n"

    def begin(self) -> None:
        """Forget the lines of the last record."""
        self.record, self.problem, self._held = [], None, 0

    def put_back_all_but_first(self) -> None:
        """Read the later lines of the record in progress again, as records of their own."""
        self._again.extend(reversed(self.record[1:]))
        self.record = self.record[:1]


def read_table(blocks: Iterable[bytes], layout: Layout, max_bytes: int) -> Iterator[RawRecord]:
    """One record per row below the header that is not blank. A bad row is a record with a finding."""
    csv.field_size_limit(1 << 30)
    lines = _Lines(split_lines(blocks, max_bytes), max_bytes)
    delimiter = layout.delimiter or ","
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    row = 0
    header_seen = False
    while True:
        lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if not lines.record:
                return
            finding = _mistake(str(error), lines, max_bytes)
            lines.put_back_all_but_first()
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            if not header_seen and lines.record[0][0] < layout.header_line:
                continue
            row += 1
            number, text = lines.record[0]
            yield RawRecord(row, number, None, text.rstrip("\n"), [finding])
            continue
        number = lines.record[0][0] if lines.record else layout.header_line
        if not header_seen:
            header_seen = number >= layout.header_line
            continue
        if lines.problem is None and not any(cell.strip() for cell in cells):
            continue
        row += 1
        yield _record(row, number, cells, layout, lines)


def _record(row: int, number: int, cells: list[str], layout: Layout, lines: _Lines) -> RawRecord:
    original = "".join(text for _, text in lines.record).rstrip("\n")
    if lines.problem is not None:
        return RawRecord(row, number, None, original, [lines.problem[1]])
    width = len(layout.columns)
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    if len(cells) != width:
        return RawRecord(row, number, None, original, [_ragged(len(cells), width, layout.delimiter)])
    return RawRecord(row, number, dict(zip(layout.columns, cells, strict=True)), original)


def _ragged(cells: int, width: int, delimiter: str | None) -> Finding:
    mark = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}[delimiter or ","]
    hint = (
        f"Put text that contains a {mark} in double quotes."
        if cells > width
        else "Add the missing cells, or close the quote that swallowed them."
    )
    found = "1 cell" if cells == 1 else f"{cells} cells"
    return Finding(
        "ragged_row",
        f"has {found} where the header has {width}. {hint}",
        found=found,
        expected=f"{width} cells",
        fix=hint,
    )


def _mistake(error: str, lines: _Lines, limit: int) -> Finding:
    if error == "too large":
        if len(lines.record) > 1:
            return _unclosed()
        return too_large(len(lines.record[0][1]), limit)
    if "unexpected end of data" in error:
        return _unclosed()
    fix = "Double the quotes inside a quoted cell, or remove them."
    return Finding(
        "unclosed_quote",
        f"has a quote in the middle of a quoted cell. {fix}",
        found="a single double quote inside a quoted cell",
        expected="two double quotes, or the end of the cell",
        fix=fix,
    )


def _unclosed() -> Finding:
    return Finding(
        "unclosed_quote",
        "opens a quote that is never closed. Close it or remove it.",
        found="an opening quote",
        expected="a closing quote",
        fix="Close the quote or remove it.",
    )
