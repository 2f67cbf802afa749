"""What drawings need besides ``svg``: a bar that is divided, and curves thinned to what can be seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT, GAP = 400.0, 12, 1.5
_SMALLEST = 2.0  # what is there at all is seen

T = TypeVar("T")


def thinned(rows: Sequence[T], most: int, *, keep: Callable[[T], bool]) -> list[T]:
    """At most about ``most`` of the rows at even distances, in their order; besides them the last one and every row
    that ``keep`` names."""
    if len(rows) <= most:
        return list(rows)
    every = -(-len(rows) // most)
    last = len(rows) - 1
    return [row for number, row in enumerate(rows) if number % every == 0 or number == last or keep(row)]


def share_bar(parts: Sequence[tuple[str, int, str]], *, label: str) -> SafeString:
    """``(name, count, tone)`` one beside the other, as long as their share; ``tone`` is a badge's tone. Parts of zero
    are left out. ``label`` is the sentence that is read aloud, and should hold the counts."""
    shown = [(name, count, tone) for name, count, tone in parts if count > 0]
    total = sum(count for _name, count, _tone in shown) or 1
    widths = [max(_SMALLEST, count / total * WIDTH) for _name, count, _tone in shown]
    scale = WIDTH / (sum(widths) or 1)
    drawn, at = [], 0.0
    for (name, count, tone), width in zip(shown, widths, strict=True):
        length = width * scale
        drawn.append((tone, f"{at:.2f}", f"{max(_SMALLEST / 2, length - GAP):.2f}", HEIGHT, f"{name}: {count}"))
        at += length
    bars = format_html_join(
        "", '<rect class="svg-{}" x="{}" y="0" width="{}" height="{}" rx="2"><title>{}</title></rect>', drawn
    )
    return format_html(
        '<svg class="share-bar" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        int(WIDTH),
        HEIGHT,
        label,
        bars,
    )
