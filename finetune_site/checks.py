"""What production refuses to start with."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register


@register(Tags.security)
def check_production(**kwargs: Any) -> list[CheckMessage]:
    """With ``PRODUCTION=1``: no DEBUG, no short or shipped key, no ``ALLOWED_HOSTS=*``."""
    if not settings.PRODUCTION:
        return []
    found: list[CheckMessage] = []
    if settings.DEBUG:
        found.append(
            Error("DEBUG is on in production.", hint="Remove DEBUG from the environment.", id="tunesmith.E001")
        )
    if len(settings.SECRET_KEY) < 50 or settings.SECRET_KEY.startswith("change-me"):
        found.append(
            Error(
                "SECRET_KEY is short or the example's.",
                hint="Leave it out (one is made and kept in DATA_DIR/keys) or set 50 random characters.",
                id="tunesmith.E002",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        found.append(Error("ALLOWED_HOSTS admits every host.", hint="Name the hosts people type.", id="tunesmith.E003"))
    return found
