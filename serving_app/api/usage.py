"""What was asked, and what it cost."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import QueryEx, Router

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor
from serving_app.queries.predictions import moment_of
from serving_app.queries.usage import Usage, usage_of

router = Router(tags=["serving"])


@router.get("/usage", auth=key_auth(Act.VIEW), response=Any, summary="Requests, tokens and cost")
def usage(
    request: HttpRequest,
    since: Annotated[str, QueryEx(alias="from")] = "",
    until: Annotated[str, QueryEx(alias="to")] = "",
    by: str = "day",
) -> Any:
    """``from`` and ``to`` are days or moments (left out: the last 30 days), ``by`` is key, model or day. ``cost`` is a list of
    amounts, one for each currency; ``is_priced`` is false where a part has no known price."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    end = moment_of(until, "to", is_end=True) if until else timezone.now()
    begin = moment_of(since, "from") if since else end - timedelta(days=30)
    return {"data": [_body(one, by) for one in usage_of(actor.project, begin, end, by)], "next_cursor": None}


def _body(usage: Usage, by: str) -> dict[str, Any]:
    names = (
        "requests",
        "refused",
        "errors",
        "left",
        "cached",
        "prompt_tokens",
        "completion_tokens",
        "tokens",
        "is_priced",
    )
    group: dict[str, Any] = {by: usage.group or None}
    if by == "key":
        group["name"] = usage.name or None
    cost = [{"amount": f"{amount:.6f}", "currency": currency} for currency, amount in sorted(usage.cost.items())]
    return group | {name: getattr(usage, name) for name in names} | {"cost": cost}
