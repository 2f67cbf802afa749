"""The report of thresholds as a drawing."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from finetune_engine.serve.semantic.report import ThresholdRow
from web_kit import svg


def threshold_plot(rows: Sequence[ThresholdRow]) -> SafeString:
    """Hits and false hits in per cent over the threshold."""
    lines = [
        (_("told again"), [(row.threshold, 100 * (row.hits.value or 0.0)) for row in rows]),
        (_("told wrongly"), [(row.threshold, 100 * (row.false_hits.value or 0.0)) for row in rows]),
    ]
    label = _("Per cent of pairs told again, and told wrongly, for each threshold.")
    return svg.line_chart(lines, label=label, x_name=_("threshold"))
