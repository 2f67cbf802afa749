"""What apps above this one spend at providers. They say so by registering a look; nothing here knows the apps above."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from accounts_app.models import Project

Look = Callable[[Project, str, datetime], Decimal]

_LOOKS: list[Look] = []


def register(look: Look) -> None:
    """``look(project, currency, since)`` says what the app's own work has probably cost since then, in that currency. Once
    per process, from ``AppConfig.ready``."""
    if look not in _LOOKS:
        _LOOKS.append(look)


def spent_elsewhere(project: Project, currency: str, since: datetime) -> Decimal:
    """What all of them have spent."""
    return sum((look(project, currency, since) for look in _LOOKS), Decimal(0))
