"""Excel workbooks (.xlsx): one sheet, read row by row, after the archive has been looked through."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from finetune_engine.data.readers.byte_stream import ByteSource
from finetune_engine.data.readers.lines import nul_byte, too_large
from finetune_engine.data.readers.sheet_extent import OddSheetExtent, SharedTexts, SheetExtent, check_extent
from finetune_engine.data.readers.table import Layout, header_of
from finetune_engine.data.readers.zip_contents import damaged, look_through, protected
from finetune_engine.data.records import RawRecord, quoted
from finetune_engine.errors import Place, UserError

_HEADER_ROWS = 200
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


@dataclass
class Workbook:
    """The sheet of a workbook that holds the rows. ``rows`` are lists of cells from the sheet's first row on."""

    source: ByteSource
    sheet: str
    layout: Layout
    others: tuple[str, ...]
    cells: Any = field(repr=False)

    def records(self, max_bytes: int) -> Iterator[RawRecord]:
        """One record per row below the header that is not blank; ``line`` is the number Excel shows beside it."""
        row = 0
        size = self.source.size
        total = self.cells.end[0] + 1 if self.cells.end else 1
        for number, cells in enumerate(self.cells.iter_rows(), 1):
            self.source.consumed = size * number // total
            if number <= self.layout.header_line:
                continue
            values = [_plain(cell) for cell in cells]
            if all(value == "" or (isinstance(value, str) and value.isspace()) for value in values):
                continue
            row += 1
            yield self._record(row, number, values, max_bytes)

    def _record(self, row: int, number: int, values: list[Any], max_bytes: int) -> RawRecord:
        value = dict(zip(self.layout.columns, values, strict=False))
        for place, extra in enumerate(values[len(self.layout.columns) :], len(self.layout.columns) + 1):
            if extra != "":  # a cell to the right of the header is kept under a name of its own
                value[f"column {place}"] = extra
        original = orjson.dumps(value).decode()
        if len(original) > max_bytes:
            return RawRecord(row, number, None, "", [too_large(len(original), max_bytes)], self.sheet)
        if "\\u0000" in original and any(isinstance(v, str) and "\0" in v for v in values):
            text = next(v for v in values if isinstance(v, str) and "\0" in v)
            return RawRecord(row, number, None, original, [nul_byte(text.index("\0"))], self.sheet)
        return RawRecord(row, number, value, original, sheet=self.sheet)


def open_workbook(path: Path, source: ByteSource, shown: str) -> Workbook:
    """The first sheet that has a header and rows.

    UserError ``unsupported_file`` (damaged, protected, explosive), ``sheet_too_large``, ``empty_file``,
    ``header_only``.
    """
    _check(path, shown)
    import python_calamine

    try:
        book = python_calamine.CalamineWorkbook.from_path(str(path))
        names = _sheet_names(book)
        return _choose(book, names, source, shown)
    except python_calamine.PasswordError as error:
        raise protected(shown) from error
    except (python_calamine.CalamineError, OSError, ValueError, OverflowError) as error:
        raise damaged(shown) from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # what the reader throws where it gave up thinking
            raise damaged(shown) from error
        raise


def _check(path: Path, shown: str) -> None:
    """Refuse what would harm the reader: see ``zip_contents`` and ``sheet_extent``."""
    sheets: dict[str, SheetExtent] = {}
    texts = SharedTexts()

    def watch(name: str) -> Any:
        if name.lower().replace("\\", "/").endswith("xl/sharedstrings.xml"):
            return texts.feed
        sheets[name] = SheetExtent()
        return sheets[name].feed

    names = look_through(path, shown, watch)
    lowered = [name.lower().replace("\\", "/") for name in names]
    if "xl/workbook.xml" not in lowered:
        raise damaged(shown)
    for extent in sheets.values():
        extent.close()
    odd: dict[str, OddSheetExtent] = {name: OddSheetExtent() for name, extent in sheets.items() if extent.is_odd}
    if odd:
        look_through(path, shown, lambda name: odd[name].feed if name in odd else None)
    for name, careful in odd.items():
        careful.close()
        if careful.is_broken and sheets[name].is_sheet:
            raise damaged(shown)
        sheets[name] = careful
    for extent in sheets.values():
        check_extent(extent, texts, shown)


def _sheet_names(book: Any) -> list[str]:
    """Worksheets, visible ones first."""
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    sheets = [s for s in book.sheets_metadata if s.typ == SheetTypeEnum.WorkSheet]
    return [s.name for s in sorted(sheets, key=lambda s: s.visible != SheetVisibleEnum.Visible)]


def _choose(book: Any, names: list[str], source: ByteSource, shown: str) -> Workbook:
    header: tuple[Layout, str] | None = None
    for name in names:
        cells = book.get_sheet_by_name(name)
        layout = _layout(cells)
        if layout is None:
            continue
        others = tuple(other for other in names if other != name)
        workbook = Workbook(source, name, layout, others, cells)
        if next(workbook.records(1 << 30), None) is not None:
            return workbook
        header = header or (layout, name)
    if header is not None:
        raise _header_only(*header, shown)
    raise UserError(
        "empty_file",
        f"{shown} has no sheet with cells in it. Choose a workbook with one example per row.",
        place=Place(file=shown, found="nothing", expected="at least one example"),
    )


def _header_only(layout: Layout, sheet: str, shown: str) -> UserError:
    expected = "at least one row below the header"
    return UserError(
        "header_only",
        f"{shown} has a header ({', '.join(layout.columns[:8])}) and no rows below it. Add one example per row.",
        place=Place(file=shown, row=layout.header_line, found="only a header", expected=expected, sheet=sheet),
    )


def _layout(cells: Any) -> Layout | None:
    rows: list[tuple[int, list[str]]] = []
    for number, row in enumerate(cells.iter_rows(), 1):
        texts = [str(_plain(cell)).strip() for cell in row]
        while texts and not texts[-1]:
            texts.pop()
        if texts:
            rows.append((number, texts))
        if len(rows) >= _HEADER_ROWS:
            break
    return header_of(rows, None, 1.0)


def others_passed_over(workbook: Workbook, shown: str) -> dict[str, str] | None:
    """The warning that other sheets were not read, None when there are none."""
    if not workbook.others:
        return None
    names = ", ".join(quoted(name) for name in workbook.others[:5])
    if len(workbook.others) > 5:
        names += f" and {len(workbook.others) - 5} more"
    sentence = f"{shown} has several sheets. {quoted(workbook.sheet)} was read; passed over: {names}."
    return {"code": "other_sheets", "message": f"{sentence} Save each sheet you need as a file of its own."}


def _plain(cell: Any) -> Any:
    """A cell as a person would write it: whole numbers without ``.0``, moments in ISO form, blank cells as ``""``."""
    if isinstance(cell, str):
        return _ESCAPED.sub(_unescape, cell) if "_x" in cell else cell
    if isinstance(cell, bool | int):
        return cell
    if isinstance(cell, float):
        if cell.is_integer() and abs(cell) < 1e15:
            return int(cell)
        return cell if cell == cell and abs(cell) != float("inf") else ""
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    if isinstance(cell, datetime.timedelta):
        return _duration(cell)
    return "" if cell is None else str(cell)


def _unescape(match: re.Match[str]) -> str:
    """Excel writes a character that XML forbids as ``_x000D_``."""
    code = int(match[1], 16)
    return match[0] if 0xD800 <= code <= 0xDFFF else chr(code)


def _duration(span: datetime.timedelta) -> str:
    seconds = int(span.total_seconds())
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
