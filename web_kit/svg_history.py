"""A figure over time as SVG text: a dot with its interval for each version, lines only between comparable ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.safestring import SafeString

from web_kit.svg import _joined, _n, _short

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 400, 190, 46, 12, 12, 28
SERIES = 3  # colours there are; the fourth series looks like the first


@dataclass(frozen=True)
class HistoryPoint:
    """One version. ``series`` counts the groups that may be compared, from 0; ``ci_*`` None: no interval is known."""

    value: float
    ci_low: float | None
    ci_high: float | None
    series: int
    href: str
    label: str


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    step: float

    def x(self, at: float) -> float:
        return LEFT + self.step * (at + 0.5)

    def y(self, value: float) -> float:
        held = min(max(value, self.low), self.high)
        return TOP + (self.high - held) / ((self.high - self.low) or 1.0) * (HEIGHT - TOP - BOTTOM)


def history(
    points: Sequence[HistoryPoint], *, label: str, low: float, high: float, x_name: str, is_share: bool = False
) -> SafeString:
    """The versions from left to right on an axis from ``low`` to ``high``, each dot a link. Lines join only points of
    one series, and an upright dashed line stands wherever the series changes. ``is_share`` writes 0.5 as 50%."""
    scale = _Scale(low, high, (WIDTH - LEFT - RIGHT) / max(1, len(points)))
    parts = [_grid(scale, low + (high - low) * share, is_share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    changes = [at for at in range(1, len(points)) if points[at].series != points[at - 1].series]
    parts += [_change(_n(scale.x(at - 0.5))) for at in changes]
    parts += [_line(points, series, scale) for series in dict.fromkeys(point.series for point in points)]
    parts += [_dot(point, _n(scale.x(at)), scale) for at, point in enumerate(points)]
    parts.append(
        format_html(
            '<text x="{}" y="{}" font-size="11.5" text-anchor="end">{}</text>', WIDTH - RIGHT, HEIGHT - 8, x_name
        )
    )
    # A group and not an image: the dots are links.
    return format_html(
        '<svg class="svg-chart" viewBox="0 0 {} {}" role="group" aria-label="{}" fill="currentColor">{}</svg>',
        WIDTH,
        HEIGHT,
        label,
        _joined(parts),
    )


def _grid(scale: _Scale, value: float, is_share: bool) -> SafeString:
    at = _n(scale.y(value))
    return format_html(
        '<line class="svg-grid" x1="{}" y1="{}" x2="{}" y2="{}"/>'
        '<text x="{}" y="{}" dy="4" font-size="11.5" text-anchor="end">{}</text>',
        *(LEFT, at, WIDTH - RIGHT, at),
        *(LEFT - 8, at, f"{value:.0%}" if is_share else _short(value)),
    )


def _change(at: str) -> SafeString:
    return format_html(
        '<line class="svg-interval-reference" x1="{}" y1="{}" x2="{}" y2="{}" stroke="currentColor"/>',
        *(at, TOP, at, HEIGHT - BOTTOM),
    )


def _line(points: Sequence[HistoryPoint], series: int, scale: _Scale) -> SafeString:
    mine = [(at, point.value) for at, point in enumerate(points) if point.series == series]
    path = "M" + "L".join(f"{_n(scale.x(at))} {_n(scale.y(value))}" for at, value in mine)
    shape = f"svg-line svg-line-{series % SERIES + 1}"
    return format_html('<path class="{}" d="{}" fill="none" stroke="currentColor"/>', shape, path)


def _dot(point: HistoryPoint, x: str, scale: _Scale) -> SafeString:
    number = point.series % SERIES + 1
    whisker: SafeString | str = ""
    if point.ci_low is not None and point.ci_high is not None:
        ends = _n(scale.y(point.ci_low)), _n(scale.y(point.ci_high))
        shape = f"svg-interval svg-interval-{number}"
        whisker = format_html('<path class="{}" d="M{} {}V{}" stroke="currentColor"/>', shape, x, *ends)
    return format_html(
        '<a href="{}" aria-label="{}"><title>{}</title>{}<circle class="svg-dot svg-dot-{}" cx="{}" cy="{}" r="4.5"/></a>',
        *(point.href, point.label, point.label, whisker, number, x, _n(scale.y(point.value))),
    )
