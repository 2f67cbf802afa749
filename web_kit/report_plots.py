"""The drawings of a report, as SVG text: several models on one scale, bars in groups, curves on two axes.

As in ``svg``: no script, no style attribute, each with a sentence that says what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.safestring import SafeString

from web_kit.svg import Point, _joined, _n, _path, _short, _svg

WIDTH = 420
EDGE = 18
LETTER = 6.3  # about how wide a letter of 12 is


@dataclass(frozen=True)
class Standing:
    """One line of a forest plot. ``words`` is the figure with its interval."""

    name: str
    words: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    is_muted: bool


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers between ``low`` and ``high``, at most about ``most``."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def tick_words(value: float, unit: str) -> str:
    """``0.5`` as ``50%`` when the unit is a share."""
    return f"{value * 100:.0f}%" if unit == "share" else _short(value)


def shortened(text: str, width: float, letter: float = LETTER) -> str:
    """``text`` cut to about ``width`` units, with an ellipsis."""
    most = max(4, int(width / letter))
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def forest(rows: Sequence[Standing], *, label: str, low: float, high: float, unit: str) -> SafeString:
    """Dots with intervals on one scale; each row has its name and figure above its line, so that it fits a phone."""
    step, top, bottom = 42, 4, 26
    height = top + step * len(rows) + bottom
    left, right = EDGE, WIDTH - EDGE
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return left + (min(max(value, low), high) - low) / span * (right - left)

    parts: list[SafeString] = []
    for tick in ticks(low, high):
        at = _n(x(tick))
        line = '<line class="svg-grid" x1="{}" y1="{}" x2="{}" y2="{}" stroke="currentColor"/>'
        parts.append(format_html(line, at, top, at, height - bottom))
        parts.append(_text(at, height - 8, tick_words(tick, unit), "middle", size=11.5))
    for number, row in enumerate(rows):
        y = top + step * number + 30
        room = WIDTH - len(row.words) * LETTER - 16
        name = shortened(row.name, room, LETTER + 0.8)
        parts.append(_text(2, y - 14, name, "start", bold=not row.is_muted, title=row.name))
        parts.append(_text(WIDTH - 2, y - 14, row.words, "end", bold=not row.is_muted, size=11.5))
        css = "svg-interval svg-interval-base" if row.is_muted else "svg-interval"
        if row.value is None:
            continue
        if row.ci_low is not None and row.ci_high is not None:
            a, b, up, down = _n(x(row.ci_low)), _n(x(row.ci_high)), _n(y - 5), _n(y + 5)
            way = f"M{a} {_n(y)}H{b}M{a} {up}V{down}M{b} {up}V{down}"
            parts.append(format_html('<path class="{}" d="{}" stroke="currentColor"/>', css, way))
        parts.append(format_html('<circle class="{}" cx="{}" cy="{}" r="5"/>', css, _n(x(row.value)), _n(y)))
    return _svg(WIDTH, height, "svg-chart", label, _joined(parts))


def bars(
    groups: Sequence[tuple[str, Sequence[tuple[int, float | None, str]]]], *, label: str, high: float
) -> SafeString:
    """Lying bars: ``(name, [(series, value, words), ...])`` for each group; series 0 is the first colour."""
    thick, gap, head, between, right = 13, 3, 18, 9, WIDTH - 56
    height = sum(head + len(lines) * (thick + gap) + between for _name, lines in groups) or 1
    parts: list[SafeString] = []
    y = 0.0
    for name, lines in groups:
        parts.append(_text(0, y + 13, shortened(name, WIDTH), "start", title=name))
        y += head
        for series, value, words in lines:
            length = right * min(1.0, max(0.0, value or 0.0) / (high or 1.0))
            css = f"svg-bar svg-bar-{series + 1}"
            box = '<rect class="{}" x="0" y="{}" width="{}" height="{}" rx="2"/>'
            if value is not None:
                parts.append(format_html(box, css, _n(y), _n(max(1.0, length)), thick))
            parts.append(_text(length + 6, y + 11, words, "start", size=11.5))
            y += thick + gap
        y += between
    return _svg(WIDTH, int(height), "svg-chart", label, _joined(parts))


def curve(
    lines: Sequence[tuple[str, Sequence[Point], bool]],
    *,
    label: str,
    x_name: str,
    y_name: str,
    is_share: bool,
    has_diagonal: bool = False,
) -> SafeString:
    """Up to three lines ``(name, points, has_dots)``. Shares run from 0 to 1 on both axes, others from 0 to their largest."""
    width, height, left, right, top, bottom = 400, 262, 50, 20, 26, 40
    points = [point for _name, found, _dots in lines for point in found]
    x1 = 1.0 if is_share else max((x for x, _y in points), default=1.0)
    y1 = 1.0 if is_share else max((y for _x, y in points), default=1.0) * 1.06 or 1.0
    unit = "share" if is_share else "number"

    def place(x: float, y: float) -> Point:
        return left + x / (x1 or 1) * (width - left - right), top + (y1 - y) / y1 * (height - top - bottom)

    parts = [_gridline(left, width - right, place(0, tick)[1], tick_words(tick, unit)) for tick in ticks(0.0, y1)]
    for tick in ticks(0.0, x1):
        parts.append(_text(place(tick, 0)[0], height - bottom + 16, tick_words(tick, unit), "middle", size=11.5))
    parts.append(_text((left + width - right) / 2, height - 6, x_name, "middle", size=11.5))
    parts.append(_text(left, top - 12, y_name, "start", size=11.5))
    if has_diagonal:
        (ax, ay), (bx, by) = place(0, 0), place(x1, y1)
        dashed = '<line class="svg-interval-reference" x1="{}" y1="{}" x2="{}" y2="{}" stroke="currentColor"/>'
        parts.append(format_html(dashed, _n(ax), _n(ay), _n(bx), _n(by)))
    for number, (_name, found, has_dots) in enumerate(lines[:3]):
        placed = [place(x, y) for x, y in found]
        parts.append(_path(placed, f"svg-line svg-line-{number + 1}"))
        if has_dots:
            dot = '<circle class="svg-dot svg-dot-{}" cx="{}" cy="{}" r="3.5"/>'
            parts.extend(format_html(dot, number + 1, _n(x), _n(y)) for x, y in placed)
    return _svg(width, height, "svg-chart", label, _joined(parts))


def _gridline(left: float, right: float, y: float, words: str) -> SafeString:
    line = format_html('<line class="svg-grid" x1="{}" y1="{}" x2="{}" y2="{}"/>', _n(left), _n(y), _n(right), _n(y))
    return line + _text(left - 6, y + 4, words, "end", size=11.5)


def _text(
    x: float | str, y: float, words: str, anchor: str, *, bold: bool = False, size: float = 12.5, title: str = ""
) -> SafeString:
    weight = "600" if bold else "400"
    inner = format_html("{}<title>{}</title>", words, title) if title and title != words else format_html("{}", words)
    return format_html(
        '<text x="{}" y="{}" font-size="{}" font-weight="{}" text-anchor="{}">{}</text>',
        x if isinstance(x, str) else _n(x),
        _n(y),
        size,
        weight,
        anchor,
        inner,
    )
