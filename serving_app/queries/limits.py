"""What a key may ask, and how much of it is used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from django.conf import settings
from django.utils import timezone

from accounts_app.models import ApiKey, Project
from serving_app.models import KeyLimit, RateWindow

REQUESTS_PER_MINUTE = "requests_per_minute"
TOKENS_PER_MINUTE = "tokens_per_minute"
TOKENS_PER_MONTH = "tokens_per_month"
LIMITS = (REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE, TOKENS_PER_MONTH)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one key may ask; None is no limit, 0 nothing."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_month: int | None = None

    @property
    def counts_tokens(self) -> bool:
        """Whether its answers' tokens must be settled."""
        return self.tokens_per_minute is not None or self.tokens_per_month is not None


@dataclass(frozen=True, slots=True)
class Used:
    """What the running windows hold, over all web processes. Requests count in helpings that a process has taken."""

    requests_this_minute: int = 0
    tokens_this_minute: int = 0
    tokens_this_month: int = 0


def scope_of(key_id: str, limit: str) -> str:
    """The name of a key's windows for one limit."""
    return f"{key_id}:{limit}"


def minute_of(at: datetime) -> datetime:
    """When the minute began in which this moment lies."""
    return at.astimezone(UTC).replace(second=0, microsecond=0)


def month_of(at: datetime) -> datetime:
    """When the calendar month (UTC) began in which this moment lies."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def house_limits() -> Limits:
    """What holds for a key without limits of its own."""
    return Limits(settings.KEY_REQUESTS_PER_MINUTE, settings.KEY_TOKENS_PER_MINUTE, settings.KEY_TOKENS_PER_MONTH)


def own_limits(own: KeyLimit | None) -> Limits:
    """What was set for a key itself; None where the house's default counts."""
    return Limits() if own is None else Limits(*(getattr(own, name) for name in LIMITS))


def limits_of(own: KeyLimit | None) -> Limits:
    """A key's own limits where it has them, the house's elsewhere."""
    house, mine = house_limits(), own_limits(own)
    return replace(house, **{name: value for name in LIMITS if (value := getattr(mine, name)) is not None})


def key_limits(key_id: str) -> Limits:
    """What this key may ask."""
    return limits_of(KeyLimit.objects.filter(pk=key_id).first())


def used_of(key_ids: Iterable[str], now: datetime | None = None) -> dict[str, Used]:
    """What each key has used of its running windows."""
    ids = list(key_ids)
    at = now or timezone.now()
    rows = RateWindow.objects.filter(
        scope__in=[scope_of(key_id, name) for key_id in ids for name in LIMITS],
        start_at__in=[minute_of(at), month_of(at)],
    ).values_list("scope", "start_at", "taken")
    taken = {(scope, start_at): amount for scope, start_at, amount in rows}
    minute, month = minute_of(at), month_of(at)
    return {
        key_id: Used(
            taken.get((scope_of(key_id, REQUESTS_PER_MINUTE), minute), 0),
            taken.get((scope_of(key_id, TOKENS_PER_MINUTE), minute), 0),
            taken.get((scope_of(key_id, TOKENS_PER_MONTH), month), 0),
        )
        for key_id in ids
    }


@dataclass(frozen=True)
class LimitedKey:
    """One key of a project: what it may, what it has used. ``own`` holds None where the house's default counts."""

    key: ApiKey
    own: Limits
    limits: Limits
    used: Used


def limited_keys(project: Project) -> list[LimitedKey]:
    """The project's keys that can ask a model and are not withdrawn, by name."""
    keys = [
        key
        for key in ApiKey.objects.filter(project=project, revoked_at=None)
        .select_related("limit")
        .order_by("name", "id")
        if {"predict", "admin"} & set(key.scopes)
    ]
    used = used_of(key.pk for key in keys)
    own = {key.pk: getattr(key, "limit", None) for key in keys}
    return [LimitedKey(key, own_limits(own[key.pk]), limits_of(own[key.pk]), used[key.pk]) for key in keys]
