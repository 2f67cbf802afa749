"""Drawing the blocks of a report on a page."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString

from evaluation_app.queries.report.blocks import Bars, Curve, Forest, Mark
from web_kit import report_plots, svg

register = template.Library()


@register.simple_tag
def report_plot(block: Bars | Curve | Forest) -> SafeString:
    """The plot of a block as SVG."""
    if isinstance(block, Forest):
        rows = [
            report_plots.Standing(
                row.name, row.words, row.mark.value, row.mark.ci_low, row.mark.ci_high, row.mark.is_muted
            )
            for row in block.rows
        ]
        return report_plots.forest(rows, label=block.label, low=block.low, high=block.high, unit=block.unit)
    if isinstance(block, Bars):
        groups = [(group.name, [(bar.series, bar.value, bar.words) for bar in group.bars]) for group in block.groups]
        return report_plots.bars(groups, label=block.label, high=block.high)
    lines = [(line.name, list(line.points), line.has_dots) for line in block.lines]
    is_share = all(0 <= x <= 1 and 0 <= y <= 1 for line in block.lines for x, y in line.points)
    return report_plots.curve(
        lines,
        label=block.label,
        x_name=block.x_name,
        y_name=block.y_name,
        is_share=is_share,
        has_diagonal=block.has_diagonal,
    )


@register.simple_tag
def report_mark(mark: Mark) -> SafeString:
    """A figure with its interval, for a table's cell."""
    return svg.interval(
        mark.value,
        mark.ci_low,
        mark.ci_high,
        low=mark.low,
        high=mark.high,
        reference=mark.reference,
        is_base=mark.is_muted,
        label=mark.label,
    )
