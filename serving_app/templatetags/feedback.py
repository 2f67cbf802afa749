"""What the form for feedback offers."""

from __future__ import annotations

from django import template

from serving_app.choices import Reason

register = template.Library()


@register.simple_tag
def feedback_reasons() -> list[tuple[str, str]]:
    """``(value, words)`` of what can be wrong with an answer."""
    return [(reason.value, str(reason.label)) for reason in Reason]


@register.filter
def reason_words(reasons: list[str]) -> str:
    """``Wrong, made up``: reasons as words; empty for none."""
    return ", ".join(str(Reason(reason).label) for reason in reasons if reason in Reason.values)
