"""The plots of a report, drawn on paper from the same blocks as on the page."""

from __future__ import annotations

from itertools import pairwise

from evaluation_app.exports.pdf.paper import ACCENT, INK, INK_2, INK_3, LINE, MARGIN, SERIES, SOFT, Colour, Paper
from evaluation_app.queries.report.blocks import Bars, Curve, Forest, Mark
from web_kit.report_plots import tick_words, ticks

NAMES = 46.0


def draw_mark(pdf: Paper, mark: Mark, x: float, y: float, width: float) -> None:
    """A dot with its interval on a track, ``y`` is its middle."""
    span = (mark.high - mark.low) or 1.0

    def at(value: float) -> float:
        return x + 1.2 + (min(max(value, mark.low), mark.high) - mark.low) / span * (width - 2.4)

    pdf.set_fill_color(*SOFT)
    pdf.set_draw_color(*LINE)
    pdf.set_line_width(0.15)
    pdf.rect(x, y - 0.9, width, 1.8, style="DF", round_corners=True, corner_radius=0.9)
    if mark.reference is not None:
        _dashed(pdf, at(mark.reference), y - 1.8, at(mark.reference), y + 1.6)
    _interval(pdf, mark, at, y, 0.95)


def draw_forest(pdf: Paper, block: Forest) -> None:
    """Models below one another, on one scale with its numbers."""
    step, top = 8.2, 1.5
    height = top + step * len(block.rows) + 7
    pdf.need(height)
    x, y, figures = MARGIN, pdf.get_y() + top, 46.0
    left, right = x + NAMES + 3, x + pdf.epw - figures
    span = (block.high - block.low) or 1.0

    def at(value: float) -> float:
        return left + (min(max(value, block.low), block.high) - block.low) / span * (right - left)

    foot = y + step * len(block.rows)
    pdf.set_line_width(0.15)
    for tick in ticks(block.low, block.high):
        pdf.set_draw_color(*LINE)
        pdf.line(at(tick), y, at(tick), foot)
        _words(pdf, tick_words(tick, block.unit), at(tick), foot + 0.8, 7, INK_3, "C")
    for number, row in enumerate(block.rows):
        middle = y + step * number + step / 2
        pdf.pen(8.2, INK_2 if row.mark.is_muted else INK, bold=not row.mark.is_muted)
        pdf.set_xy(x, middle - 2)
        pdf.cell(NAMES, 4, pdf.fitting(row.name, NAMES))
        pdf.set_xy(right, middle - 2)
        pdf.cell(figures, 4, pdf.fitting(row.words, figures), align="R")
        _interval(pdf, row.mark, at, middle, 1.25)
    pdf.set_y(y - top + height)


def draw_bars(pdf: Paper, block: Bars) -> None:
    """Lying bars in groups, with a legend."""
    thick, gap, between = 3.6, 0.7, 2.6
    height = 6 + sum(len(group.bars) * (thick + gap) + between for group in block.groups)
    pdf.need(height)
    left, right = MARGIN + NAMES + 3, MARGIN + pdf.epw - 18
    y = _legend(pdf, list(block.series), pdf.get_y())
    for group in block.groups:
        tall = len(group.bars) * (thick + gap)
        pdf.pen(8, INK)
        names = pdf.lines(group.name, NAMES)[:2]
        pdf.write_lines(names, MARGIN, y + (tall - 3.6 * len(names)) / 2, NAMES, 3.6)
        for bar in group.bars:
            length = (right - left) * min(1.0, max(0.0, bar.value or 0.0) / (block.high or 1.0))
            pdf.set_fill_color(*SERIES[bar.series % len(SERIES)])
            if bar.value is not None:
                pdf.rect(left, y, max(0.3, length), thick, style="F")
            _words(pdf, bar.words, left + length + 1.5, y + 0.2, 7.2, INK_2, "L")
            y += thick + gap
        y += between
    pdf.set_y(y)


def draw_curve(pdf: Paper, block: Curve) -> None:
    """Lines on two axes, with a legend when there is more than one."""
    tall, wide = 56.0, min(pdf.epw, 112.0)
    pdf.need(tall + 16)
    top = pdf.get_y()
    if len(block.lines) > 1:
        top = _legend(pdf, [line.name for line in block.lines[:3]], top, first=1)
    points = [point for line in block.lines for point in line.points]
    is_share = all(0 <= x <= 1 and 0 <= y <= 1 for x, y in points)
    x1 = 1.0 if is_share else max((x for x, _y in points), default=1.0) or 1.0
    y1 = 1.0 if is_share else (max((y for _x, y in points), default=1.0) * 1.06 or 1.0)
    unit = "share" if is_share else "number"
    left, right, high, low = MARGIN + 13, MARGIN + wide, top + 5, top + tall - 7

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x / x1 * (right - left), low - y / y1 * (low - high)

    _words(pdf, block.y_name, left, top, 7, INK_3, "L")
    pdf.set_line_width(0.15)
    for tick in ticks(0.0, y1):
        pdf.set_draw_color(*LINE)
        pdf.line(left, at(0, tick)[1], right, at(0, tick)[1])
        _words(pdf, tick_words(tick, unit), left - 1.5, at(0, tick)[1] - 1.6, 7, INK_3, "R")
    for tick in ticks(0.0, x1):
        _words(pdf, tick_words(tick, unit), at(tick, 0)[0], low + 0.8, 7, INK_3, "C")
    _words(pdf, block.x_name, (left + right) / 2, low + 4.4, 7, INK_3, "C")
    if block.has_diagonal:
        _dashed(pdf, *at(0, 0), *at(x1, y1))
    for number, line in enumerate(block.lines[:3]):
        _line(pdf, [at(x, y) for x, y in line.points], SERIES[(number + 1) % len(SERIES)], line.has_dots, number)
    pdf.set_y(top + tall + 4)


def _line(pdf: Paper, points: list[tuple[float, float]], colour: Colour, has_dots: bool, number: int) -> None:
    pdf.set_draw_color(*colour)
    pdf.set_fill_color(*colour)
    pdf.set_line_width(0.5)
    if number:
        pdf.set_dash_pattern(dash=2, gap=1.2)
    for (ax, ay), (bx, by) in pairwise(points):
        pdf.line(ax, ay, bx, by)
    pdf.set_dash_pattern()
    if has_dots or len(points) == 1:
        for x, y in points:
            pdf.circle(x, y, 0.9, style="F")


def _interval(pdf: Paper, mark: Mark, at: object, y: float, radius: float) -> None:
    place = at
    if mark.value is None or not callable(place):
        return
    colour = SERIES[0] if mark.is_muted else ACCENT
    pdf.set_draw_color(*colour)
    pdf.set_fill_color(*colour)
    pdf.set_line_width(0.4)
    if mark.ci_low is not None and mark.ci_high is not None:
        a, b = place(mark.ci_low), place(mark.ci_high)
        pdf.line(a, y, b, y)
        for end in (a, b):
            pdf.line(end, y - radius, end, y + radius)
    pdf.circle(place(mark.value), y, radius, style="F")


def _dashed(pdf: Paper, ax: float, ay: float, bx: float, by: float) -> None:
    pdf.set_draw_color(*INK_3)
    pdf.set_line_width(0.2)
    pdf.set_dash_pattern(dash=1, gap=0.9)
    pdf.line(ax, ay, bx, by)
    pdf.set_dash_pattern()


def _legend(pdf: Paper, names: list[str], y: float, first: int = 0) -> float:
    x = MARGIN + NAMES + 3 if first == 0 else MARGIN + 13
    for number, name in enumerate(names):
        pdf.set_fill_color(*SERIES[(number + first) % len(SERIES)])
        pdf.rect(x, y + 0.6, 5, 2.2, style="F")
        pdf.pen(7.5, INK_2)
        text = pdf.fitting(name, 60)
        pdf.set_xy(x + 6.5, y - 0.3)
        pdf.cell(pdf.get_string_width(text) + 1, 4, text)
        x += 6.5 + pdf.get_string_width(text) + 6
    return y + 5.2


def _words(pdf: Paper, text: str, x: float, y: float, size: float, colour: Colour, align: str) -> None:
    pdf.pen(size, colour)
    clean = pdf.clean(text)
    width = pdf.get_string_width(clean) + 0.4
    start = {"L": x, "C": x - width / 2, "R": x - width}[align]
    pdf.set_xy(start, y)
    pdf.cell(width, 3.2, clean)
