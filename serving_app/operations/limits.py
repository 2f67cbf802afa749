"""Limits of keys: setting them, and taking from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from accounts_app.choices import Act
from accounts_app.models import ApiKey
from accounts_app.operations import record
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from serving_app.models import KeyLimit, RateWindow
from serving_app.queries.limits import TOKENS_PER_MINUTE, TOKENS_PER_MONTH, minute_of, month_of, scope_of

LARGEST = 2**31 - 1
LARGEST_MONTH = 2**53
_LIMITS = {"requests_per_minute": LARGEST, "tokens_per_minute": LARGEST, "tokens_per_month": LARGEST_MONTH}


def set_key_limits(*, actor: Actor, key: ApiKey, limits: dict[str, int | None]) -> KeyLimit:
    """Set all three limits of a key. None: the house's default; 0: nothing may be asked. Counts within half a second in
    every web process. Raises UserError naming the field, and PermissionDenied for anybody but an owner."""
    actor.require(Act.OWN)
    for name, largest in _LIMITS.items():
        value = limits.get(name)
        if value is not None and not 0 <= value <= largest:
            raise UserError("invalid_value", f"The limit is a whole number from 0 to {largest:,}.", field=name)
    values = {name: limits.get(name) for name in _LIMITS}
    with transaction.atomic():
        limit, _ = KeyLimit.objects.update_or_create(
            api_key=key, defaults={**values, "updated_by": actor.user, "updated_at": timezone.now()}
        )
        record(actor=actor, project=actor.project, act="key.limits", subject=f"key {key.name}", data=values)
    return limit


def take_permits(*, scope: str, start_at: datetime, limit: int, chunk: int) -> tuple[int, int]:
    """Take up to ``chunk`` of what is left of the window; returns how many were granted (0: the window is closed) and how many
    are taken now in all. The UPDATE holds only where nobody else has taken since, so all processes together never take more
    than ``limit``. The nearer the end, the smaller the helping, so that little is left lying at another process."""
    while True:
        window = RateWindow.objects.filter(scope=scope, start_at=start_at).values_list("pk", "taken").first()
        if window is None:
            _open_window(scope, start_at)
            continue
        pk, taken = window
        granted = min(chunk, max(1, (limit - taken) // 4), limit - taken)
        if granted <= 0:
            return 0, taken
        if RateWindow.objects.filter(pk=pk, taken=taken).update(taken=taken + granted):
            return granted, taken + granted


def add_tokens(spent: Sequence[tuple[str | None, int, datetime]]) -> None:
    """Add what answers cost to the windows of their keys: ``(key id, tokens, when)``."""
    sums: defaultdict[tuple[str, datetime], int] = defaultdict(int)
    for key_id, tokens, at in spent:
        if key_id is not None and tokens:
            sums[scope_of(key_id, TOKENS_PER_MINUTE), minute_of(at)] += tokens
            sums[scope_of(key_id, TOKENS_PER_MONTH), month_of(at)] += tokens
    for (scope, start_at), tokens in sorted(sums.items()):
        window = RateWindow.objects.filter(scope=scope, start_at=start_at)
        if not window.update(taken=F("taken") + tokens):
            _open_window(scope, start_at)
            window.update(taken=F("taken") + tokens)


def forget_windows() -> int:
    """Delete windows that have long ended: of minutes after an hour, of months after two. Returns how many."""
    now = timezone.now()
    months = RateWindow.objects.filter(start_at__lt=now - timedelta(days=62))
    minutes = RateWindow.objects.filter(start_at__lt=now - timedelta(hours=1)).exclude(
        scope__endswith=f":{TOKENS_PER_MONTH}"
    )
    return months.delete()[0] + minutes.delete()[0]


def _open_window(scope: str, start_at: datetime) -> None:
    try:
        with transaction.atomic():
            RateWindow.objects.create(scope=scope, start_at=start_at)
    except IntegrityError:
        pass  # another process was first, which is as good
