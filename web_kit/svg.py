"""Small charts as SVG text, drawn on the server: no script, no style attribute, prints as it is.

Every drawing has ``role="img"`` and a sentence that says what it shows. Colours come from the classes of
``static/css/parts.css``; the shapes carry ``currentColor`` so that a print without that file still shows them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

Point = tuple[float, float]


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _joined(parts: Sequence[SafeString]) -> SafeString:
    return format_html_join("", "{}", ((part,) for part in parts))


def _svg(width: int, height: int, css_class: str, label: str, body: SafeString) -> SafeString:
    return format_html(
        '<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}" fill="currentColor">{}</svg>',
        css_class,
        width,
        height,
        label,
        body,
    )


def interval(
    value: float | None,
    ci_low: float | None,
    ci_high: float | None,
    *,
    low: float = 0.0,
    high: float = 1.0,
    reference: float | None = None,
    is_base: bool = False,
    label: str,
) -> SafeString:
    """A dot with its interval on a track from ``low`` to ``high``; ``reference`` is a dashed upright line.

    ``value`` None draws the empty track. Values outside the track are held at its ends.
    """
    width, height, pad = 200, 20, 6
    span = (high - low) or 1.0

    def x(number: float) -> float:
        return pad + (min(max(number, low), high) - low) / span * (width - 2 * pad)

    parts = [format_html('<rect class="svg-track" x="1" y="7" width="{}" height="6" rx="3"/>', width - 2)]
    if reference is not None and math.isfinite(reference):
        at = _n(x(reference))
        parts.append(
            format_html(
                '<line class="svg-interval-reference" x1="{}" y1="1" x2="{}" y2="19" stroke="currentColor"/>', at, at
            )
        )
    tone = "svg-interval svg-interval-base" if is_base else "svg-interval"
    if value is not None and math.isfinite(value):
        if ci_low is not None and ci_high is not None:
            a, b = _n(x(ci_low)), _n(x(ci_high))
            parts.append(
                format_html('<path class="{}" d="M{} 10H{}M{} 6V14M{} 6V14" stroke="currentColor"/>', tone, a, b, a, b)
            )
        parts.append(format_html('<circle class="{}" cx="{}" cy="10" r="4"/>', tone, _n(x(value))))
    return _svg(width, height, "interval", label, _joined(parts))


def histogram(bins: Sequence[Mapping[str, Any]], *, label: str, unit: str = "") -> SafeString:
    """Bars for ``[{"from", "to", "count"}, ...]`` in order; the axis names the first, middle and last border."""
    width, height, left, bottom, top = 400, 170, 40, 26, 10
    counts = [max(0.0, _finite(b.get("count")) or 0.0) for b in bins]
    peak = max(counts, default=0.0) or 1.0
    plot_w, plot_h = width - left - 8, height - bottom - top
    step = plot_w / max(1, len(bins))
    parts: list[SafeString] = []
    for share in (0.0, 0.5, 1.0):
        y = _n(top + plot_h * (1 - share))
        parts.append(format_html('<line class="svg-grid" x1="{}" y1="{}" x2="{}" y2="{}"/>', left, y, width - 8, y))
        parts.append(
            format_html(
                '<text x="{}" y="{}" font-size="11.5" text-anchor="end" dy="4">{}</text>',
                left - 6,
                y,
                _short(peak * share),
            )
        )
    for i, count in enumerate(counts):
        bar = count / peak * plot_h
        parts.append(
            format_html(
                '<rect class="svg-bar" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
                _n(left + i * step + 0.5),
                _n(top + plot_h - bar),
                _n(max(1.0, step - 1)),
                _n(bar),
                f"{_short(bins[i].get('from'))}–{_short(bins[i].get('to'))} {unit}: {_short(count)}",
            )
        )
    parts.extend(_bin_labels(bins, left, step, height, unit))
    return _svg(width, height, "svg-chart", label, _joined(parts))


def _bin_labels(bins: Sequence[Mapping[str, Any]], left: int, step: float, height: int, unit: str) -> list[SafeString]:
    if not bins:
        return []
    marks = [(0, bins[0].get("from"), "start"), (len(bins), bins[-1].get("to"), "end")]
    if len(bins) > 3:
        middle = len(bins) // 2
        marks.insert(1, (middle, bins[middle].get("from"), "middle"))
    return [
        format_html(
            '<text x="{}" y="{}" font-size="11.5" text-anchor="{}">{}</text>',
            _n(left + at * step),
            height - 8,
            anchor,
            f"{_short(value)} {unit}".strip() if anchor == "end" else _short(value),
        )
        for at, value, anchor in marks
    ]


def line_chart(
    series: Sequence[tuple[str, Sequence[tuple[Any, Any]]]], *, label: str, x_name: str = "", height: int = 190
) -> SafeString:
    """Up to three named lines ``(name, [(x, y), ...])`` on shared axes; a y that is no number leaves a gap."""
    width, left, bottom, top, right = 400, 46, 28, 12, 12
    cleaned = [[(_finite(x), _finite(y)) for x, y in points] for _, points in series]
    xs = [x for points in cleaned for x, _ in points if x is not None]
    ys = [y for points in cleaned for _, y in points if y is not None]
    if not xs or not ys:
        return _svg(width, height, "svg-chart", label, mark_safe(""))
    x0, x1 = min(xs), max(xs)
    y0, y1 = _padded(min(ys), max(ys))

    def place(x: float, y: float) -> Point:
        across = (x - x0) / ((x1 - x0) or 1.0) * (width - left - right)
        return left + across, top + (y1 - y) / (y1 - y0) * (height - top - bottom)

    parts: list[SafeString] = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        value = y0 + (y1 - y0) * share
        y = _n(place(x0, value)[1])
        parts.append(format_html('<line class="svg-grid" x1="{}" y1="{}" x2="{}" y2="{}"/>', left, y, width - right, y))
        parts.append(
            format_html(
                '<text x="{}" y="{}" dy="4" font-size="11.5" text-anchor="end">{}</text>', left - 8, y, _short(value)
            )
        )
    for x, anchor, words in ((x0, "start", _short(x0)), (x1, "end", f"{x_name} {_short(x1)}".strip())):
        parts.append(
            format_html(
                '<text x="{}" y="{}" font-size="11.5" text-anchor="{}">{}</text>',
                _n(place(x, y0)[0]),
                height - 8,
                anchor,
                words,
            )
        )
    for i, points in enumerate(cleaned):
        css = f"svg-line svg-line-{i + 1}"
        parts.append(_path([place(x, y) if x is not None and y is not None else None for x, y in points], css))
    return _svg(width, height, "svg-chart", label, _joined(parts))


def sparkline(values: Sequence[Any], *, label: str) -> SafeString:
    """One line of numbers without axes, for a table cell. Gaps where a value is no number."""
    width, height = 112, 28
    numbers = [_finite(v) for v in values]
    known = [v for v in numbers if v is not None]
    if not known:
        return _svg(width, height, "sparkline", label, mark_safe(""))
    low, high = _padded(min(known), max(known))
    step = (width - 6) / max(1, len(numbers) - 1)
    points = [
        None if v is None else (3 + i * step, 3 + (high - v) / (high - low) * (height - 6))
        for i, v in enumerate(numbers)
    ]
    body = [_path(points, "svg-line")]
    last = next((p for p in reversed(points) if p is not None), None)
    if last is not None:
        body.append(format_html('<circle class="svg-dot" cx="{}" cy="{}" r="2.5"/>', _n(last[0]), _n(last[1])))
    return _svg(width, height, "sparkline", label, _joined(body))


def _path(points: Sequence[Point | None], css_class: str) -> SafeString:
    """A polyline that lifts the pen at None; a lone point becomes a dot."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    lines = ["M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in run) for run in runs if len(run) > 1]
    dots = [run[0] for run in runs if len(run) == 1]
    drawn = format_html('<path class="{}" d="{}" fill="none" stroke="currentColor"/>', css_class, " ".join(lines))
    return drawn + format_html_join(
        "", '<circle class="svg-dot" cx="{}" cy="{}" r="2.5"/>', ((_n(x), _n(y)) for x, y in dots)
    )


def _padded(low: float, high: float) -> tuple[float, float]:
    gap = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return (low - gap if low < 0 or low - gap > 0 else 0.0), high + gap


def _short(value: Any) -> str:
    number = _finite(value)
    if number is None:
        return "–"
    if number == 0:
        return "0"
    size = abs(number)
    if size >= 1e6:
        return f"{number / 1e6:.3g}M"
    if size >= 1e4:
        return f"{number / 1e3:.3g}k"
    if number == int(number):
        return str(int(number))
    return f"{number:.3g}"
