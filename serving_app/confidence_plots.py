"""The two drawings of the page Confidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from web_kit.report_plots import curve
from web_kit.wording import percent_words


def reliability_plot(report: Mapping[str, Any]) -> SafeString:
    """Share of right answers by confidence: the model's own and the calibrated one, on held-out rows."""
    lines = [
        (name, [(one["confidence"], one["accuracy"]) for one in report[part]["bins"]], True)
        for name, part in ((_("the model's own"), "before"), (_("calibrated"), "after"))
    ]
    label = _("Share of right answers by confidence. The model's own: %(before)s. Calibrated: %(after)s.") % {
        "before": _points(lines[0][1]),
        "after": _points(lines[1][1]),
    }
    return curve(
        lines,
        label=label,
        x_name=_("confidence"),
        y_name=_("right answers"),
        is_share=True,
        has_diagonal=True,
    )


def coverage_plot(report: Mapping[str, Any]) -> SafeString:
    """How often the answers are right that are given without a person, by how many those are, with 95 % intervals."""
    points = report["curve"]
    lines = [
        (_("right"), [(one["coverage"], one["accuracy"]) for one in points], False),
        (_("at least"), [(one["coverage"], one["low"]) for one in points], False),
        (_("at most"), [(one["coverage"], one["high"]) for one in points], False),
    ]
    label = _("Share of right answers among the surest ones: %(points)s.") % {
        "points": _points([(one["coverage"], one["accuracy"]) for one in points[3::4]])
    }
    return curve(
        lines,
        label=label,
        x_name=_("share of answers that nobody looks at"),
        y_name=_("right answers"),
        is_share=True,
    )


def _points(points: list[tuple[float, float]]) -> str:
    return "; ".join(f"{percent_words(x, 0)} → {percent_words(y, 0)}" for x, y in points)
