"""Shares as people read them."""

from __future__ import annotations

MOST_PLACES = 4


def percent(share: float) -> str:
    """``0.75`` as ``75 %``. What is not quite all does not read as 100 %, nor a little as 0 %: ``99.6 %``, ``99.99 %``."""
    return f"{percent_number(share)} %"


def percent_number(share: float) -> str:
    """The same without its sign, for the lower end of a range."""
    value = 100 * share
    if not (0 < abs(value) < 1 or 99 < abs(value) < 100):
        return f"{value:.0f}"
    return next(
        (text for places in range(1, MOST_PLACES) if abs(float(text := f"{value:.{places}f}")) not in (0.0, 100.0)),
        f"{value:.{MOST_PLACES}f}",
    )
