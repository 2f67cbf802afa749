"""How far the cells of a sheet reach and how much text they hold, found out before a sheet is laid out in memory.

The workbook reader lays a sheet out as a full rectangle from its first to its last cell, with a copy of each shared
text in every cell that shows it. A few bytes can therefore ask for terabytes: one cell in the far corner, or one long
text shown a million times. Both are counted here first, on the bytes of the sheet as they are unpacked.
"""

from __future__ import annotations

import re
from array import array
from xml.parsers import expat

from finetune_engine.errors import Place, UserError

MAX_CELLS = 12_000_000
MAX_TEXT = 1 << 29
_HELD_LIMIT = 1 << 20
_CELL = re.compile(rb'<c r="([A-Z]{1,3})(\d{1,7})"(?:\s+[\w:.-]+="[^"<>]*")*\s*(/>|></|>)')
_ANY_CELL = re.compile(rb"<(?:[^\s<>/:]+:)?c(?=[\s/>])")
_SHARED = re.compile(rb' t="s"[^>]*>\s*<v>(\d{1,9})<')
_ANY_SHARED = re.compile(rb"\st\s*=\s*[\"']s[\"']")
_ITEM_END = re.compile(rb"</(?:[^\s<>/:]+:)?si\s*>|<(?:[^\s<>/:]+:)?si\s*/>")


class SheetExtent:
    """Fed with the bytes of one sheet; knows the rectangle of its filled cells. Rows and columns count from 1.

    ``is_odd`` says that some cell is written in a way this does not read: then ``OddSheetExtent`` must count.
    ``is_sheet`` says that the part holds cells at all, whatever it is called.
    """

    def __init__(self) -> None:
        self.top = self.left = 1 << 30
        self.bottom = self.right = 0
        self.cells = 0
        self.shared = array("L")
        self.unknown_shared = 0
        self.is_odd = self.is_sheet = False
        self._held = b""

    def feed(self, block: bytes) -> None:
        """Take in the next bytes. The last cell begun is kept for the next call."""
        data = self._held + block
        end = data.rfind(b"<c")
        if end < 0 or len(data) - end > _HELD_LIMIT:
            end = max(data.rfind(b"<"), 0)
        self._held = data[end:]
        if len(self._held) > _HELD_LIMIT:  # no tag is that long, unless somebody means to hide a cell in it
            self._held = b""
            self.is_odd = self.is_sheet = True
        self._count(data[:end])

    def close(self) -> None:
        """Take in what was kept."""
        self._count(self._held)
        self._held = b""

    def _count(self, data: bytes) -> None:
        self.is_sheet = self.is_sheet or b"sheetData" in data
        found = _CELL.findall(data)
        shared = _SHARED.findall(data)
        if len(_ANY_CELL.findall(data)) != len(found) or len(_ANY_SHARED.findall(data)) != len(shared):
            self.is_odd = True
        self.shared.extend(map(int, shared))
        filled = [(letters, int(row)) for letters, row, end in found if end == b">"]
        if not filled:
            return
        self.cells += len(filled)
        rows = [row for _, row in filled]
        self.top, self.bottom = min(self.top, min(rows)), max(self.bottom, max(rows))
        columns = [_number(letters) for letters in {letters for letters, _ in filled}]
        self.left, self.right = min(self.left, min(columns)), max(self.right, max(columns))

    @property
    def area(self) -> int:
        """Cells in the rectangle, filled or not."""
        return (self.bottom - self.top + 1) * (self.right - self.left + 1) if self.bottom else 0


class OddSheetExtent(SheetExtent):
    """The same by a whole XML parser, for the rare sheet that is written in an unusual way. Slower."""

    def __init__(self) -> None:
        super().__init__()
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._row = self._column = 0
        self.is_broken = False

    def feed(self, block: bytes) -> None:
        """Take in the next bytes."""
        self._parse(block, False)

    def close(self) -> None:
        """Take in the end."""
        self._parse(b"", True)

    def _parse(self, block: bytes, is_end: bool) -> None:
        if self.is_broken:
            return
        try:
            self._parser.Parse(block, is_end)
        except expat.ExpatError:
            self.is_broken = True

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        if name == "row":
            given = attributes.get("r", "")
            self._row = int(given) if given.isdigit() and len(given) < 9 else self._row + 1
            self._column = 0
        elif name == "c":
            place = re.fullmatch(r"\$?([A-Za-z]{1,3})\$?(\d{1,7})", attributes.get("r", ""))
            if place:
                self._column, self._row = _number(place[1].upper().encode()), int(place[2])
            else:
                self._column += 1
            self.cells += 1
            self.unknown_shared += attributes.get("t") == "s"
            self.top, self.bottom = min(self.top, self._row), max(self.bottom, self._row)
            self.left, self.right = min(self.left, self._column), max(self.right, self._column)


class SharedTexts:
    """Fed with the bytes of the shared texts; knows the length of each in bytes, marks included."""

    def __init__(self) -> None:
        self.lengths = array("L")
        self._open = 0

    def feed(self, block: bytes) -> None:
        """Take in the next bytes. A mark cut in two by the border of a block adds its text to the next one."""
        at = 0
        for match in _ITEM_END.finditer(block):
            self.lengths.append(self._open + match.start() - at)
            self._open, at = 0, match.end()
        self._open += len(block) - at


def check_extent(extent: SheetExtent, texts: SharedTexts, shown: str) -> None:
    """UserError ``sheet_too_large`` when laying the sheet out would fill the memory."""
    if extent.area > MAX_CELLS:
        raise _too_wide(extent, shown)
    longest = max(texts.lengths, default=0) + 1
    if (len(extent.shared) + extent.unknown_shared) * longest <= MAX_TEXT:
        return
    lengths = texts.lengths
    total = sum(lengths[i] if i < len(lengths) else longest for i in extent.shared) + extent.unknown_shared * longest
    if total > MAX_TEXT:
        raise UserError(
            "sheet_too_large",
            f"{shown} holds more than {MAX_TEXT >> 20} MB of text once its repeated texts are written out. "
            "Save the sheet as CSV UTF-8 and upload that.",
            place=Place(file=shown, found="too much text", expected=f"at most {MAX_TEXT >> 20} MB of text"),
        )


def _too_wide(extent: SheetExtent, shown: str) -> UserError:
    corner = f"{_letters(extent.right)}{extent.bottom}"
    if extent.cells * 8 < extent.area:
        sentence = (
            f"A sheet of {shown} has cells in use as far as {corner}, with almost nothing before them. "
            "Delete the empty rows and columns around the table, save the workbook and upload it again."
        )
    else:
        sentence = f"A sheet of {shown} has more than {MAX_CELLS:,} cells. Save the sheet as CSV UTF-8 and upload that."
    return UserError(
        "sheet_too_large",
        sentence,
        place=Place(file=shown, column=corner, found=f"cells as far as {corner}", expected=f"{MAX_CELLS:,} cells"),
    )


def _number(letters: bytes) -> int:
    """A column's number from 1: A is 1, AA is 27."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _letters(number: int) -> str:
    out = ""
    while number > 0:
        number, rest = divmod(number - 1, 26)
        out = chr(65 + rest) + out
    return out
