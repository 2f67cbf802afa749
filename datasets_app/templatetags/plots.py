"""Drawings of the data pages."""

from __future__ import annotations

from collections.abc import Sequence

from django import template
from django.utils.safestring import SafeString

from datasets_app.queries.cards import StatusTile
from web_kit.plots import share_bar

register = template.Library()


@register.simple_tag
def status_bar(tiles: Sequence[StatusTile], label: str) -> SafeString:
    """The four statuses as one divided bar."""
    return share_bar([(tile.label, tile.count, tile.tone) for tile in tiles], label=label)
