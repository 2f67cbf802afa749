"""A JSON array of objects (or one object), read element by element with bounded memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from finetune_engine.data.readers.json_mistakes import duplicate_key_finding, explain, not_an_object, too_deep
from finetune_engine.data.readers.lines import nul_byte, too_large
from finetune_engine.data.records import Finding, RawRecord

_SPACE = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(r'["\[\]{}]')
# Possessive: a text of millions of characters must not fill memory with places to go back to.
_STRING_REST = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_STRAY = re.compile(r"[}\s]*[^,\[\]{}\n]*")
_SCAN_BUDGET = 2 << 20
_SCAN_LEAST = 256
_TRIM_AT = 1 << 16
_ERROR_MARGIN = 256


class _Constant(ValueError):
    """NaN or Infinity."""


def _refuse(name: str) -> Any:
    raise _Constant(name)


class ArrayReader:
    """Walks through ``[ {...}, {...} ]``. One element at a time is in memory, of at most ``max_bytes`` characters."""

    def __init__(self, blocks: Iterable[bytes], max_bytes: int) -> None:
        self._blocks = iter(blocks)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._limit = max_bytes
        self._text = ""
        self._at = 0
        self._line = 1
        self._base = 0
        self._ended = False
        self._gave_up = False
        self._scan_left = _SCAN_BUDGET
        self._twice: list[str] = []
        self._json = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=_refuse)

    def __iter__(self) -> Iterator[RawRecord]:
        """All records in order, also of objects and lists that simply follow one another."""
        row = 0
        is_open = False
        while (here := self._peek()) != "":
            if here == ("]" if is_open else "["):
                is_open = not is_open
                self._advance(self._at + 1)
                continue
            row += 1
            line = self._line
            if here == ",":
                yield RawRecord(row, line, None, ",", [self._mistake("a comma", "an object")])
                self._advance(self._at + 1)
                continue
            yield self._element(row, line)
            yield from self._between(row)
        if is_open and not self._gave_up:
            yield self._cut_short(row + 1)

    def _element(self, row: int, line: int) -> RawRecord:
        """The element that starts at the current position."""
        while True:
            self._twice = []
            start = self._at
            try:
                value, end = self._json.raw_decode(self._text, start)
            except (json.JSONDecodeError, _Constant, RecursionError, ValueError) as error:
                if self._may_be_cut(error) and self._fits() and self._fill():
                    continue
                return self._broken(row, line, error)
            if end == len(self._text) and self._fits() and self._fill():
                continue
            original = self._text[start:end]
            self._advance(end)
            if len(original) > self._limit:
                return RawRecord(row, line, None, "", [too_large(len(original), self._limit)])
            return self._record(row, line, value, original, start)

    def _record(self, row: int, line: int, value: Any, original: str, start: int) -> RawRecord:
        record = RawRecord(row, line, None, original)
        if not isinstance(value, dict):
            record.findings.append(not_an_object(value))
            return record
        if (deep := too_deep(original, value)) is not None:
            record.findings.append(deep)
            return record
        if "\\ud" in original.lower() and _has_lone_surrogate(value):
            position = original.lower().index("\\ud")
            record.findings.append(self._explain(original, "surrogate", position, line, start))
            return record
        record.value = value
        if self._twice:
            record.findings.append(duplicate_key_finding(self._twice))
        return record

    def _broken(self, row: int, line: int, error: Exception) -> RawRecord:
        """The record for an element that cannot be read; moves on to the next one if it can be found."""
        start = self._at
        if not self._fits() and self._element_end(start) is None:
            size = self._skip_large()
            return RawRecord(row, line, None, "", [too_large(size, self._limit)])
        position = error.pos if isinstance(error, json.JSONDecodeError) else start
        if start > _TRIM_AT:  # the parser counts lines from the beginning of the text at each mistake
            self._trim()
            start, position = 0, position - start
        end = self._broken_end(start, max(position, start), is_deep=isinstance(error, RecursionError))
        self._gave_up = end >= len(self._text)
        original = self._text[start:end].rstrip().removesuffix(",")
        complaint = "recursion" if isinstance(error, RecursionError) else ""
        finding = self._explain(original, complaint, position - start, line, start)
        self._advance(end)
        return RawRecord(row, line, None, original, [finding])

    def _broken_end(self, start: int, position: int, *, is_deep: bool) -> int:
        """Where an element that cannot be read ends; always beyond ``start``."""
        if self._text[start] not in "[{":  # a stray word or bracket: what follows the next comma may be whole
            match = _STRAY.match(self._text, start + 1)
            return match.end() if match else start + 1
        end = self._element_end(start)
        if end is None and not is_deep:
            end = self._next_line_start(position)
        return len(self._text) if end is None else max(end, start + 1)

    def _explain(self, original: str, complaint: str, position: int, line: int, start: int) -> Finding:
        """The finding for an element that begins at ``start`` on ``line``, with line and column in the file."""
        if "\0" in original:
            return nul_byte(original.index("\0"))
        finding = explain(original, complaint, position)
        offset = int(finding.column or 1) - 1
        before = original[:offset]
        lines = before.count("\n")
        column = offset - before.rfind("\n") if lines else self._column(start) + offset
        place = f"line {line + lines}, column {column}"
        finding.message = finding.message.replace(f"column {finding.column}", place, 1)
        finding.column = str(column)
        return finding

    def _column(self, at: int) -> int:
        """The column of a position in its line, from 1."""
        newline = self._text.rfind("\n", 0, at)
        return at - newline if newline >= 0 else self._base + at + 1

    def _between(self, row: int) -> Iterator[RawRecord]:
        """What stands after an element: a comma, the end, or a mistake."""
        here = self._peek()
        if here == ",":
            self._advance(self._at + 1)
            if self._peek() == "]":
                yield RawRecord(
                    row, self._line, {}, "", [Finding("trailing_comma", _TRAILING, found="a comma", fix="Remove it.")]
                )

    def _cut_short(self, row: int) -> RawRecord:
        finding = Finding(
            "invalid_json",
            "was not reached: the list is never closed with “]”, so the file may have been cut short.",
            found="the end of the file",
            expected="“]”",
            fix="Export or copy the file again and check its end.",
        )
        return RawRecord(row, self._line, None, "", [finding])

    def _mistake(self, found: str, expected: str) -> Finding:
        return Finding(
            "invalid_json",
            f"is not valid JSON: found {found} where {expected} was expected. Mend the line or remove it.",
            found=found,
            expected=expected,
            fix="Mend the line or remove it.",
        )

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) < len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    self._twice.append(key)
                seen.add(key)
        return out

    def _may_be_cut(self, error: Exception) -> bool:
        """Whether more text could mend the error: it lies at the end of what has been read."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        near_end = len(self._text) - error.pos < _ERROR_MARGIN
        return not self._ended and (near_end or error.msg.startswith("Unterminated"))

    def _fits(self) -> bool:
        return len(self._text) - self._at <= self._limit

    def _fill(self) -> bool:
        """Read about as much again as is held; False at the end of the file."""
        if self._ended:
            return False
        self._trim()
        wanted = max(len(self._text), 1)
        parts = [self._text]
        got = 0
        while got < wanted:
            block = next(self._blocks, None)
            if block is None:
                parts.append(self._decoder.decode(b"", final=True))
                self._ended = True
                break
            text = self._decoder.decode(block)
            parts.append(text)
            got += len(text)
        self._text = "".join(parts)
        return True

    def _trim(self) -> None:
        """Forget the text before the current position."""
        newline = self._text.rfind("\n", 0, self._at)
        self._base = self._at - newline - 1 if newline >= 0 else self._base + self._at
        self._text = self._text[self._at :]
        self._at = 0

    def _advance(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to

    def _peek(self) -> str:
        """The next character that is not blank, "" at the end of the file."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._advance(match.end() if match else self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def _element_end(self, start: int) -> int | None:
        """Where the brackets opened at ``start`` close, None when they do not.

        A file of rows that never close would be looked through again for each of them: after a while only the next
        few characters are.
        """
        stop = start + max(self._scan_left, _SCAN_LEAST)
        end, looked = self._brackets_end(start, stop)
        if end is None:
            self._scan_left -= looked - start
        return end

    def _brackets_end(self, start: int, stop: int) -> tuple[int | None, int]:
        """``(where the brackets close, how far it was looked)``."""
        depth, at = 0, start
        while match := _TOKEN.search(self._text, at, stop):
            at = match.end()
            mark = match.group()
            if mark == '"':
                rest = _STRING_REST.match(self._text, at)
                if rest is None or "\n" in rest.group():  # a string never spans lines: its quote was forgotten
                    return None, at
                at = rest.end()
            elif mark in "[{":
                depth += 1
            else:
                depth -= 1
                if depth == 0:
                    return at, at
                if depth < 0:
                    return match.start(), at
        return None, min(stop, len(self._text))

    def _next_line_start(self, after: int) -> int | None:
        """The next line that begins an object with the indentation of this one."""
        line_start = self._text.rfind("\n", 0, self._at) + 1
        indent = self._text[line_start : self._at]
        if indent.strip():
            indent = ""
        match = re.compile(rf"\n{re.escape(indent)}(?=\{{)").search(self._text, after)
        return match.end() if match else None

    def _skip_large(self) -> int:
        """Pass over an element too large to hold; returns its size in characters."""
        depth = size = 0
        in_string = False
        while True:
            end = self._scan_large(depth, in_string)
            depth, in_string, stop = end
            if stop is not None:
                size += stop - self._at
                self._advance(stop)
                return size
            whole = len(self._text) - self._open_escape()
            size += whole - self._at
            self._advance(whole)
            if not self._fill():
                return size

    def _open_escape(self) -> int:
        """1 when the text read so far ends with a backslash that belongs to the next character."""
        return (len(self._text) - len(self._text.rstrip("\\"))) % 2

    def _scan_large(self, depth: int, in_string: bool) -> tuple[int, bool, int | None]:
        at = self._at
        while True:
            if in_string:
                rest = _STRING_REST.match(self._text, at)
                if rest is None:
                    return depth, True, None
                at, in_string = rest.end(), False
            match = _TOKEN.search(self._text, at)
            if match is None:
                return depth, False, None
            at = match.end()
            if match.group() == '"':
                in_string = True
            else:
                depth += 1 if match.group() in "[{" else -1
                if depth <= 0:
                    return depth, False, at


def _has_lone_surrogate(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


_TRAILING = "is followed by a comma and then the list ends. The comma was passed over."


def read_json_array(blocks: Iterable[bytes], max_bytes: int) -> Iterator[RawRecord]:
    """One record per element. A trailing comma becomes a finding on the last record."""
    last: RawRecord | None = None
    for record in ArrayReader(blocks, max_bytes):
        if last is not None and record.row == last.row:
            last.findings.extend(record.findings)
            continue
        if last is not None:
            yield last
        last = record
    if last is not None:
        yield last
