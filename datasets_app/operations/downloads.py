"""Data that leaves the site: what is written down about it."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from accounts_app.operations import record
from accounts_app.permissions import Actor


@transaction.atomic
def record_download(*, actor: Actor, act: str, subject: str, data: dict[str, Any] | None = None) -> None:
    """One audit entry, before the first byte is sent. In a transaction of its own: outside of one, two downloads at the
    same moment would both be chained to the same entry."""
    record(actor=actor, project=actor.project, act=act, subject=subject, data=data)
