"""Tables on paper: heads are repeated on each page, no row is torn in two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation_app.exports.pdf.paper import INK, INK_2, INK_3, LINE, MARGIN, SOFT, Paper
from evaluation_app.exports.pdf.plots import draw_mark
from evaluation_app.queries.report.blocks import Cell, Row, Table

PAD = 1.4
MOST_LINES = 9
MARK_HEIGHT = 4.6
MANY_COLUMNS = 7
MARK_WIDTH = 30.0


@dataclass(frozen=True)
class Laid:
    """A cell with its lines, and how tall it is."""

    cell: Cell
    lines: list[str]
    notes: list[str]
    height: float


class Sizes:
    """Letters of a table: smaller where there are many columns."""

    def __init__(self, table: Table) -> None:
        many = len(table.columns) > MANY_COLUMNS
        self.text, self.note, self.head = (7.0, 6.2, 6.6) if many else (8.0, 6.9, 7.2)


def draw_table(pdf: Paper, table: Table) -> None:
    """The table, from where the pen stands."""
    if not table.rows:
        return
    sizes = Sizes(table)
    widths = _widths(pdf, table)
    heads = _heads(pdf, table, widths, sizes)
    pdf.need(least_height(pdf, table))
    _draw_head(pdf, table, heads, widths, sizes)
    for row in table.rows:
        laid = _laid_row(pdf, row, widths, sizes)
        height = _row_height(laid)
        if pdf.need(height):
            _draw_head(pdf, table, heads, widths, sizes)
        _draw_row(pdf, table, row, laid, widths, sizes, height)
    if table.note:
        draw_note(pdf, table.note)
    pdf.set_y(pdf.get_y() + 2.5)


def least_height(pdf: Paper, table: Table) -> float:
    """How tall the head with the first row is: they stay together."""
    sizes = Sizes(table)
    widths = _widths(pdf, table)
    heads = _head_height(pdf, _heads(pdf, table, widths, sizes), sizes)
    return heads + sum(_row_height(_laid_row(pdf, row, widths, sizes)) for row in table.rows[:1])


def draw_note(pdf: Paper, text: str) -> None:
    """A small sentence below something."""
    pdf.pen(7.2, INK_3)
    lines = pdf.lines(text, pdf.epw, MOST_LINES)
    pdf.need(len(lines) * pdf.leading() + 1)
    pdf.set_y(pdf.write_lines(lines, MARGIN, pdf.get_y() + 1, pdf.epw, pdf.leading()))


def _widths(pdf: Paper, table: Table) -> list[float]:
    """By their shares, but none narrower than its widest word."""
    total = sum(column.share for column in table.columns) or 1.0
    wished = [pdf.epw * column.share / total for column in table.columns]
    least = [min(need, pdf.epw / 3) for need in _widest_words(pdf, table)]
    lacking = sum(max(0.0, need - width) for need, width in zip(least, wished, strict=True))
    spare = sum(max(0.0, width - need) for need, width in zip(least, wished, strict=True))
    if not lacking or spare < lacking:
        return wished
    kept = 1 - lacking / spare
    return [need + max(0.0, width - need) * kept for need, width in zip(least, wished, strict=True)]


def _widest_words(pdf: Paper, table: Table) -> list[float]:
    sizes = Sizes(table)
    found = []
    for number, column in enumerate(table.columns):
        pdf.pen(sizes.head, INK_2, bold=True)
        widest = max((pdf.get_string_width(pdf.clean(word)) for word in column.label.split()), default=0.0)
        pdf.pen(sizes.note, INK, bold=True)
        badges = [row.cells[number].text for row in table.rows if number < len(row.cells) and row.cells[number].tone]
        widest = max([widest, *(pdf.get_string_width(pdf.clean(word)) + 3.6 for word in badges)])
        found.append(widest + 2 * PAD + 0.4)
    return found


def _heads(pdf: Paper, table: Table, widths: Sequence[float], sizes: Sizes) -> list[list[str]]:
    pdf.pen(sizes.head, INK_2, bold=True)
    pairs = zip(table.columns, widths, strict=True)
    return [pdf.lines(column.label, width - 2 * PAD, 4) for column, width in pairs]


def _head_height(pdf: Paper, heads: Sequence[list[str]], sizes: Sizes) -> float:
    pdf.pen(sizes.head, INK_2, bold=True)
    return max((len(lines) for lines in heads), default=1) * pdf.leading(1.3) + 2 * PAD


def _draw_head(pdf: Paper, table: Table, heads: Sequence[list[str]], widths: Sequence[float], sizes: Sizes) -> None:
    height, top, x = _head_height(pdf, heads, sizes), pdf.get_y(), MARGIN
    pdf.set_fill_color(*SOFT)
    pdf.rect(MARGIN, top, pdf.epw, height, style="F")
    pdf.pen(sizes.head, INK_2, bold=True)
    for column, lines, width in zip(table.columns, heads, widths, strict=True):
        y = top + height - PAD - len(lines) * pdf.leading(1.3)
        align = "R" if column.is_number else "L"
        pdf.write_lines(lines, x + PAD, y, width - 2 * PAD, pdf.leading(1.3), align)
        x += width
    pdf.rule(top + height, LINE, 0.3)
    pdf.set_xy(MARGIN, top + height)


def _laid_row(pdf: Paper, row: Row, widths: Sequence[float], sizes: Sizes) -> list[Laid]:
    found = []
    for cell, width in zip(row.cells, widths, strict=False):
        inner = width - 2 * PAD
        pdf.pen(sizes.text, INK, bold=cell.is_strong or bool(cell.tone))
        lines = pdf.lines(cell.text, inner - (3.2 if cell.tone else 0), MOST_LINES)
        height = len(lines) * pdf.leading(1.32)
        if cell.tone:
            height = max(height, 4.6)
        if cell.mark is not None:
            pdf.pen(sizes.note, INK_2)
            lines = pdf.lines(cell.text, inner, MOST_LINES)
            height = MARK_HEIGHT + len(lines) * pdf.leading(1.25)
        pdf.pen(sizes.note, INK_3)
        notes = pdf.lines(cell.note, inner, MOST_LINES)
        height += len(notes) * pdf.leading(1.28)
        found.append(Laid(cell, lines, notes, height))
    return found


def _row_height(laid: Sequence[Laid]) -> float:
    return max((one.height for one in laid), default=4.0) + 2 * PAD


def _draw_row(
    pdf: Paper, table: Table, row: Row, laid: Sequence[Laid], widths: Sequence[float], sizes: Sizes, height: float
) -> None:
    top, x = pdf.get_y(), MARGIN
    for column, one, width in zip(table.columns, laid, widths, strict=False):
        align = "R" if column.is_number else "L"
        _draw_cell(pdf, one, x + PAD, top + PAD, width - 2 * PAD, align, sizes, is_small=row.is_small)
        x += width
    pdf.rule(top + height, LINE, 0.15)
    pdf.set_xy(MARGIN, top + height)


def _draw_cell(
    pdf: Paper, laid: Laid, x: float, y: float, width: float, align: str, sizes: Sizes, *, is_small: bool
) -> None:
    cell = laid.cell
    if cell.tone:
        pdf.badge(" ".join(laid.lines), cell.tone, x, y, sizes.note)
        y += 4.8
    elif cell.mark is not None:
        draw_mark(pdf, cell.mark, x, y + MARK_HEIGHT / 2 - 0.4, min(width, MARK_WIDTH))
        pdf.pen(sizes.note, INK_3 if is_small else INK_2)
        y = pdf.write_lines(laid.lines, x, y + MARK_HEIGHT, width, pdf.leading(1.25), align)
    else:
        pdf.pen(sizes.text, INK_3 if is_small else INK, bold=cell.is_strong)
        y = pdf.write_lines(laid.lines, x, y, width, pdf.leading(1.32), align)
    if laid.notes:
        pdf.pen(sizes.note, INK_3)
        pdf.write_lines(laid.notes, x, y, width, pdf.leading(1.28), align)
