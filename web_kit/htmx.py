"""The request as htmx's middleware hands it on, with types."""

from __future__ import annotations

from typing import TypeGuard

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


class HtmxRequest(HttpRequest):
    """A request that has passed ``django_htmx.middleware.HtmxMiddleware``: ``request.htmx`` is there."""

    htmx: HtmxDetails


def is_htmx(request: HttpRequest) -> TypeGuard[HtmxRequest]:
    """True when htmx asks for a fragment, not for a whole page (a boosted link wants the whole page)."""
    details: HtmxDetails | None = getattr(request, "htmx", None)
    return details is not None and bool(details) and not details.boosted
