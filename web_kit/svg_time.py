"""Figures over time as SVG text: lines or bars on an axis of moments, with upright marks where something changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.safestring import SafeString

from web_kit.report_plots import LETTER, _gridline, _text, tick_words, ticks
from web_kit.svg import Point, _joined, _n, _path, _svg

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 400, 180, 46, 12, 14, 28
GAP = 18.0  # between two moments named on the axis


@dataclass(frozen=True)
class TimeMark:
    """Something happened ``at`` (0..1 of the axis); ``words`` are shown beside its line when one points at it."""

    at: float
    words: str


def time_plot(
    series: Sequence[Sequence[float | None]],
    *,
    label: str,
    moments: Sequence[str],
    unit: str = "number",
    marks: Sequence[TimeMark] = (),
    highest: float | None = None,
) -> SafeString:
    """Up to three lines over the same steps, from 0 to their largest value (or ``highest``); None leaves a gap. ``moments``
    names each step; ``unit`` ``share`` writes 0.5 as 50%. ``label`` is the sentence that is read aloud."""
    steps = max((len(line) for line in series), default=0)
    top = highest or max((value for line in series for value in line if value is not None), default=0.0) * 1.08 or 1.0

    def place(step: float, value: float) -> Point:
        across = (step + 0.5) / max(1, steps) * (WIDTH - LEFT - RIGHT)
        return LEFT + across, TOP + (top - min(value, top)) / top * (HEIGHT - TOP - BOTTOM)

    across, marked = (LEFT, WIDTH - RIGHT), ticks(0.0, top, 4)
    parts = [_gridline(*across, place(0, value)[1], tick_words(value, unit)) for value in marked]
    parts += [_text(x, HEIGHT - 8, words, "middle", size=11.5) for x, words in _named(moments)]
    parts += [_mark(LEFT + mark.at * (WIDTH - LEFT - RIGHT), mark.words) for mark in marks]
    for number, line in enumerate(series[:3]):
        points = [None if value is None else place(step, value) for step, value in enumerate(line)]
        parts.append(_path(points, f"svg-line svg-line-{number + 1}"))
    return _svg(WIDTH, HEIGHT, "svg-chart", label, _joined(parts))


def _named(moments: Sequence[str]) -> list[tuple[float, str]]:
    """Some of the moments, far enough apart to be read, and where they stand."""
    step = (WIDTH - LEFT - RIGHT) / max(1, len(moments))
    apart = max((len(words) for words in moments), default=1) * LETTER + GAP
    every = max(1, math.ceil(apart / step))
    return [(LEFT + (place + 0.5) * step, moments[place]) for place in range(every // 2, len(moments), every)]


def _mark(x: float, words: str) -> SafeString:
    return format_html(
        '<g><title>{}</title><line class="svg-interval-reference" x1="{}" y1="{}" x2="{}" y2="{}" '
        'stroke="currentColor"/><path d="M{} {}l-4 -7h8z"/></g>',
        *(words, _n(x), TOP, _n(x), HEIGHT - BOTTOM, _n(x), TOP),
    )
