"""How much a key may ask, exact over all web processes without a write per question.

A process takes permits of the running minute in helpings (``operations.take_permits``) and spends them at home. A window that
is known to be closed is remembered until it ends, so that a flood never reaches the database. Tokens are only known afterwards:
they are settled with the log, and the answer during which a limit is reached is still given.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from finetune_engine.errors import UserError
from serving_app.gateway import unsettled
from serving_app.gateway.database import ask_database
from serving_app.operations import take_permits
from serving_app.queries.limits import REQUESTS_PER_MINUTE, Limits, Used, month_of, scope_of

HELPING = 20
"""A helping is this part of the limit."""
MOST_KEYS = 10_000
WHERE = "An owner of the project sets it on the page Keys and limits."


class OverLimit(UserError):
    """429 with Retry-After: seconds until the window ends."""

    def __init__(self, code: str, sentence: str, retry_after: float, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(code, f"{sentence} {WHERE} Try again in {max(1, round(retry_after))} s.", status=429)
        self.retry_after = max(1.0, retry_after)
        self.headers = headers


@dataclass(slots=True)
class Home:
    """What this process holds of one key's minute. ``limit`` is what held when ``permits`` were taken, ``taken`` what all
    processes had taken when last looked at, ``closed_at`` the limit at which the window was found closed."""

    minute: int
    permits: int = 0
    limit: int = 0
    taken: int = 0
    closed_at: int | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Permits:
    """The homes of this process. Used from one event loop."""

    def __init__(self) -> None:
        self._homes: OrderedDict[str, Home] = OrderedDict()

    async def take(self, key_id: str, limit: int) -> int:
        """Spend one permit of the running minute; returns how many are left, as far as this process knows. Raises
        OverLimit."""
        while True:
            home = self._home(key_id)
            if limit < home.limit:  # it was lowered: what was taken under the old one is void
                home.permits = 0
            if home.permits > 0:
                home.permits -= 1
                return max(0, limit - home.taken + home.permits)
            if limit == 0 or home.closed_at == limit:
                raise _too_many_requests(limit)
            await self._refill(home, key_id, limit)

    def forget(self) -> None:
        """Start afresh (tests)."""
        self._homes.clear()

    def _home(self, key_id: str) -> Home:
        minute = int(time.time() // 60)
        home = self._homes.get(key_id)
        if home is None or home.minute != minute:
            home = self._homes[key_id] = Home(minute)
            if len(self._homes) > MOST_KEYS:
                self._homes.popitem(last=False)
        return home

    async def _refill(self, home: Home, key_id: str, limit: int) -> None:
        async with home.lock:  # of a burst only the first asks the database
            if home.permits > 0 or home.closed_at == limit:
                return
            granted, home.taken = await ask_database(
                take_permits,
                scope=scope_of(key_id, REQUESTS_PER_MINUTE),
                start_at=datetime.fromtimestamp(home.minute * 60, UTC),
                limit=limit,
                chunk=max(1, limit // HELPING),
            )
            home.permits, home.limit = granted, limit
            home.closed_at = None if granted else limit


permits = Permits()


def demand_tokens(key_id: str, limits: Limits, used: Used) -> None:
    """Raises OverLimit when the key's tokens of this minute or month are spent."""
    waiting = unsettled.of(key_id)
    if limits.tokens_per_minute is not None and used.tokens_this_minute + waiting >= limits.tokens_per_minute:
        sentence = f"This key may use {limits.tokens_per_minute:,} tokens a minute and has used them."
        raise OverLimit("tokens_per_minute_exceeded", sentence, _to_next_minute(), [])
    if limits.tokens_per_month is not None and used.tokens_this_month + waiting >= limits.tokens_per_month:
        sentence = f"This key may use {limits.tokens_per_month:,} tokens a month and has used them."
        raise OverLimit("tokens_per_month_exceeded", sentence, _to_next_month(), [])


def limit_headers(limits: Limits, used: Used, key_id: str, left: int | None) -> list[tuple[bytes, bytes]]:
    """What OpenAI's clients read: the limits, what is left of them, and when they begin anew."""
    headers: list[tuple[bytes, bytes]] = []
    reset = b"%ds" % max(1, round(_to_next_minute()))
    if limits.requests_per_minute is not None and left is not None:
        headers += [
            (b"x-ratelimit-limit-requests", b"%d" % limits.requests_per_minute),
            (b"x-ratelimit-remaining-requests", b"%d" % left),
            (b"x-ratelimit-reset-requests", reset),
        ]
    if limits.tokens_per_minute is not None:
        tokens = max(0, limits.tokens_per_minute - used.tokens_this_minute - unsettled.of(key_id))
        headers += [
            (b"x-ratelimit-limit-tokens", b"%d" % limits.tokens_per_minute),
            (b"x-ratelimit-remaining-tokens", b"%d" % tokens),
            (b"x-ratelimit-reset-tokens", reset),
        ]
    return headers


def _too_many_requests(limit: int) -> OverLimit:
    sentence = f"This key may ask {limit:,} times a minute and has done so."
    wait = _to_next_minute()
    headers = [
        (b"x-ratelimit-limit-requests", b"%d" % limit),
        (b"x-ratelimit-remaining-requests", b"0"),
        (b"x-ratelimit-reset-requests", b"%ds" % max(1, round(wait))),
    ]
    return OverLimit("rate_limit_exceeded", sentence, wait, headers)


def _to_next_minute() -> float:
    return 60.0 - time.time() % 60.0


def _to_next_month() -> float:
    now = datetime.now(UTC)
    return (month_of(month_of(now) + timedelta(days=32)) - now).total_seconds()
