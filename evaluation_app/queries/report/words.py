"""Figures of a report as words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from evaluation_app.choices import MetricWords
from web_kit.wording import NOTHING, money_words, number_words, percent_words


def value_words(value: float | None, words: MetricWords) -> str:
    """A figure in its metric's unit; a dash for None."""
    if value is None:
        return NOTHING
    if words.unit == "share":
        return percent_words(value)
    return number_words(float(value), 1 if words.unit == "hundred" else 2)


def difference_words(gain: Mapping[str, Any], words: MetricWords, against: str = "") -> str:
    """``+12.5 points over the base model (+3.1 to +21.9); chance alone does this less than 1 time in 1,000``."""
    scale = 100 if words.unit == "share" else 1
    figures = [float(gain[key]) * scale for key in ("difference", "ci_low", "ci_high") if gain.get(key) is not None]
    if not figures:
        return ""
    signed = [signed_words(figure, 1 if scale == 100 else 2) for figure in figures]
    unit = _(" points") if scale == 100 else ""
    other = against or _("the base model")
    sentence = _("%(gain)s%(unit)s against %(other)s") % {"gain": signed[0], "unit": unit, "other": other}
    if len(signed) == 3:
        sentence += _(" (%(low)s to %(high)s)") % {"low": signed[1], "high": signed[2]}
    p = gain.get("p_holm") if gain.get("p_holm") is not None else gain.get("p_value")
    return f"{sentence}; {chance_words(float(p))}" if p is not None else sentence


def chance_words(p: float) -> str:
    """A p-value as a frequency."""
    if p < 0.001:
        return _("chance alone does this less than 1 time in 1,000")
    if p < 0.01:
        return _("chance alone does this %(n)s times in 1,000") % {"n": max(1, round(p * 1000))}
    return _("chance alone does this %(n)s times in 100") % {"n": round(p * 100)}


def signed_words(value: float, places: int) -> str:
    """A number that always carries its sign."""
    return ("+" if value > 0 else "") + number_words(value, places)


def points_words(share: float | None) -> str:
    """A difference of shares: ``+12.5 points``; a dash for None."""
    return NOTHING if share is None else _("%(n)s points") % {"n": signed_words(100 * float(share), 1)}


def share_words(share: float | None, places: int = 1) -> str:
    """``87.3%``; a dash for None."""
    return percent_words(share, places)


def range_words(low: float | None, high: float | None, places: int = 1) -> str:
    """``68.0% to 91.0%``; empty where there is no interval."""
    if low is None or high is None:
        return ""
    return _("%(low)s to %(high)s") % {"low": percent_words(low, places), "high": percent_words(high, places)}


def points_range(low: float | None, high: float | None) -> str:
    """``+3.1 to +21.9``; empty where there is no interval."""
    if low is None or high is None:
        return ""
    ends = {"low": signed_words(100 * float(low), 1), "high": signed_words(100 * float(high), 1)}
    return _("%(low)s to %(high)s") % ends


def answer_money(amount: float | None, currency: str | None) -> str:
    """What one answer costs; per thousand answers where one alone is a tiny fraction."""
    if amount is None:
        return _("not known")
    if 0 < amount < 0.005:
        return _("%(money)s per 1,000") % {"money": money_words(amount * 1000, currency or "")}
    return money_words(amount, currency or "").strip()
