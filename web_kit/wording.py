"""Numbers, durations, moments and money, as words for people."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal

from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

NOTHING = "–"  # shown where there is no value; never an invented zero
Number = int | float | Decimal


def number_words(value: Number | None, places: int | None = None) -> str:
    """``1234567`` as ``1,234,567``; None, NaN and infinities as words. ``places`` fixes the decimals.

    Without ``places`` whole numbers have none and others at most four significant decimals.
    """
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return _("not a number") if math.isnan(value) else _("infinite")
    if places is None:
        places = _natural_places(value)
    rounded = Decimal(f"{value:.{places}f}")  # Django alone would cut the digits off, not round
    return formats.number_format(rounded, decimal_pos=places, use_l10n=True, force_grouping=True)


def _natural_places(value: Number) -> int:
    size = abs(float(value))
    if size == int(size):
        return 0
    if size >= 100:
        return 1
    if size >= 1:
        return 2
    return min(8, 2 - math.floor(math.log10(size)))


def percent_words(share: Number | None, places: int = 1) -> str:
    """``0.873`` as ``87.3%``. None is shown as a dash."""
    if share is None:
        return NOTHING
    if not math.isfinite(float(share)):
        return number_words(float(share))
    return f"{number_words(float(share) * 100, places)}%"


def duration_words(seconds: Number | None) -> str:
    """``4321`` as ``1 h 12 min``: the two largest units that matter. None is shown as a dash."""
    if seconds is None or not math.isfinite(float(seconds)):
        return NOTHING
    value = max(0.0, float(seconds))
    if value < 1:
        return _("%(n)s ms") % {"n": number_words(round(value * 1000))}
    if value < 10 and value != int(value):
        return _("%(n)s s") % {"n": number_words(value, 1)}
    whole = round(value)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    if days:
        words = ngettext("%(n)s day", "%(n)s days", days) % {"n": days}
        return f"{words} {hours} h" if hours else words
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {left} s" if left and minutes < 10 else f"{minutes} min"
    return f"{left} s"


def ago_words(moment: datetime, now: datetime | None = None) -> str:
    """``3 minutes ago`` or ``in 2 hours``; from 30 days on the date itself."""
    now = now or datetime.now(UTC)
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 45:
        return _("just now")
    if abs(seconds) >= 30 * 86_400:
        return formats.date_format(moment, "DATE_FORMAT")
    words = _span_words(abs(seconds))
    return (_("%(span)s ago") if seconds > 0 else _("in %(span)s")) % {"span": words}


def _span_words(seconds: float) -> str:
    if seconds < 3_600:
        n = max(1, round(seconds / 60))
        return ngettext("%(n)s minute", "%(n)s minutes", n) % {"n": n}
    if seconds < 86_400:
        n = round(seconds / 3_600)
        return ngettext("%(n)s hour", "%(n)s hours", n) % {"n": n}
    n = round(seconds / 86_400)
    return ngettext("%(n)s day", "%(n)s days", n) % {"n": n}


def money_words(amount: Number | None, currency: str = "USD") -> str:
    """``12.5`` as ``12.50 USD``; sums under one unit keep four decimals. None means the price is not known."""
    if amount is None:
        return _("price not known")
    places = 2 if amount == 0 or abs(float(amount)) >= 1 else 4
    return f"{number_words(amount, places)} {currency}"


def bytes_words(size: Number | None) -> str:
    """``1536`` as ``1.5 KB`` (1 KB is 1,024 bytes). None is shown as a dash."""
    if size is None:
        return NOTHING
    value = float(size)
    for unit in ("bytes", "KB", "MB", "GB"):
        if abs(value) < 1024:
            return f"{number_words(value, 0 if unit == 'bytes' or value >= 100 else 1)} {unit}"
        value /= 1024
    return f"{number_words(value, 1)} TB"
