"""One JSON object whose values are lists of rows, such as ``{"train": [["text", "label"], ...], "test": [...]}``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from finetune_engine.data.readers.array import ArrayReader
from finetune_engine.data.records import Finding, RawRecord, quoted

LIST_COLUMN = "list"
SPLIT_COLUMN = "split"
_SPLITS = ("train", "training", "validation", "valid", "val", "dev", "test")
_TURN_KEYS = ("role", "content", "from", "value")
_Scalar = str | int | float | bool | None


def holds_lists(start: bytes, *, is_whole: bool) -> bool:
    """Whether a text that begins with ``{`` is one object of lists of rows. ``start`` is its first bytes, all of them
    when ``is_whole``."""
    value = _whole(start) if is_whole else None
    if value is None:
        first = _first_row(start)
        return _is_row(first) and not isinstance(first, str)
    lists = list(value.values()) if isinstance(value, dict) else []
    if not lists or not all(isinstance(v, list) and v for v in lists):
        return False
    rows = [row for rows in lists for row in rows[:20]]
    return all(_is_row(row) for row in rows) and (len(lists) > 1 or not isinstance(rows[0], str))


def _whole(text: bytes) -> Any:
    """The value of a whole text, None when there is a mistake in it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _first_row(start: bytes) -> Any:
    """The first element of the first list; None when the first value is no list or its first element is cut off."""
    text = start.decode("utf-8", "replace")
    decoder = json.JSONDecoder()
    try:
        at = text.index("{") + 1
        at += len(text[at:]) - len(text[at:].lstrip())
        _, at = decoder.raw_decode(text, at)
        rest = text[at:].lstrip()
        if not rest.startswith(":") or not rest[1:].lstrip().startswith("["):
            return None
        rest = rest[1:].lstrip()[1:].lstrip()
        return decoder.raw_decode(rest, 0)[0]
    except (ValueError, RecursionError):
        return None


def _is_row(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(cell, _Scalar) for cell in value)
    if isinstance(value, dict):
        return bool(value) and not any(key in value for key in _TURN_KEYS)
    return isinstance(value, str)


class ObjectOfLists(ArrayReader):
    """Walks through the lists one after the other, one row at a time in memory.

    A row that is a list gets the columns ``column 1``, ``column 2``, ...; every row gets its list's name in the column
    ``list``, and in ``split`` when that is the name of a split. ``wanted`` None reads all lists.
    """

    def __init__(self, blocks: Iterable[bytes], max_bytes: int, wanted: Sequence[str] | None = None) -> None:
        super().__init__(blocks, max_bytes)
        self._wanted = None if wanted is None else frozenset(wanted)
        self._list = ""

    def __iter__(self) -> Iterator[RawRecord]:
        """All rows of the wanted lists in order."""
        row = 0
        self._peek()
        self._advance(self._at + 1)
        while (here := self._peek()) not in ("", "}"):
            if here == ",":
                self._advance(self._at + 1)
                continue
            name = self._name() if here == '"' else None
            if name is None or self._peek() != ":":
                yield RawRecord(row + 1, self._line, None, "", [self._mistake(quoted(here), "the name of a list")])
                return
            self._advance(self._at + 1)
            self._list = name
            for record in self._rows(row):
                row = record.row
                yield record
            if self._gave_up:
                return
        if here == "":
            yield self._cut_short(row + 1)

    def _rows(self, row: int) -> Iterator[RawRecord]:
        """The rows of the list that begins here."""
        is_wanted = self._wanted is None or self._list in self._wanted
        if self._peek() != "[":
            record = self._element(row + 1, self._line)
            record.value, record.findings = None, record.findings or [_no_list(self._list)]
            if is_wanted:
                yield record
            return
        self._advance(self._at + 1)
        while (here := self._peek()) not in ("", "]"):
            if here == ",":
                self._advance(self._at + 1)
                continue
            record = self._element(row + 1, self._line)
            if is_wanted:
                row += 1
                yield record
            if self._gave_up:
                return
        if here == "]":
            self._advance(self._at + 1)

    def _name(self) -> str | None:
        while True:
            try:
                name, end = self._json.raw_decode(self._text, self._at)
            except ValueError:
                if self._fits() and self._fill():
                    continue
                return None
            self._advance(end)
            return str(name)

    def _record(self, row: int, line: int, value: Any, original: str, start: int) -> RawRecord:
        if isinstance(value, list) and value and all(isinstance(cell, _Scalar) for cell in value):
            value = {f"column {place}": cell for place, cell in enumerate(value, 1)}
        elif isinstance(value, str):
            value = {"column 1": value}
        record = super()._record(row, line, value, original, start)
        if record.value is not None:
            record.value.setdefault(LIST_COLUMN, self._list)
            if self._list.lower() in _SPLITS:
                record.value.setdefault(SPLIT_COLUMN, self._list)
        return record


def _no_list(name: str) -> Finding:
    return Finding(
        "data_type",
        f"is {quoted(name)}, which is not a list of rows like the others. Remove it, or write it as a list.",
        column=name,
        found="a single value",
        expected="a list of rows",
        fix="Remove it, or write it as a list.",
    )


def list_names(records: Iterable[RawRecord]) -> tuple[str, ...]:
    """The names of the lists that ``records`` come from, in order."""
    names = (str(r.value[LIST_COLUMN]) for r in records if r.value and LIST_COLUMN in r.value)
    return tuple(dict.fromkeys(names))
