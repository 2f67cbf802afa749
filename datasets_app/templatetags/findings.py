"""Findings in plain words. Load with ``{% load findings %}``."""

from __future__ import annotations

from django import template

from datasets_app import choices

register = template.Library()


@register.filter
def code_title(code: str) -> str:
    """``{{ "pii"|code_title }}``: the plain words for a finding's code."""
    return choices.code_title(code)
