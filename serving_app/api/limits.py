"""What a key may ask, as the page."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import ConfigDict

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.models import ApiKey
from accounts_app.permissions import Actor, fetch
from accounts_app.queries import keys_of
from serving_app.models import KeyLimit
from serving_app.operations import set_key_limits
from serving_app.queries.limits import limits_of, own_limits, used_of
from web_kit.pagination import paginate

router = Router(tags=["serving"])


class KeyLimits(Schema):
    """All three are set: null is the house's default, 0 lets nothing be asked."""

    model_config = ConfigDict(extra="forbid")  # a name written wrongly would set the right one to the default

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_month: int | None = None


def _body(key: ApiKey) -> dict[str, Any]:
    own = KeyLimit.objects.filter(pk=key.pk).first()
    used = used_of([key.pk])[key.pk]
    return {
        "key": key.pk,
        "name": key.name,
        "own": asdict(own_limits(own)),
        "in_force": asdict(limits_of(own)),
        "used": asdict(used),
    }


def _key_body(key: ApiKey) -> dict[str, Any]:
    own: KeyLimit | None = getattr(key, "limit", None)
    return {
        "id": key.pk,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "own": asdict(own_limits(own)),
        "in_force": asdict(limits_of(own)),
    }


@router.get("/keys", auth=key_auth(Act.VIEW), response=Any, summary="List keys")
def keys(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first, with those that were withdrawn (``revoked_at``). ``prefix`` is how a key begins; the key itself is shown
    once, when it is made. Limits as in ``GET /keys/{key_id}/limits``."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    rows = keys_of(actor.project).select_related("limit")
    page = paginate(rows, order=("-id",), limit=limit, cursor=cursor)
    return {"data": [_key_body(key) for key in page], "next_cursor": page.next_cursor}


@router.get("/keys/{key_id}/limits", auth=key_auth(Act.VIEW), response=Any, summary="What a key may ask")
def limits(request: HttpRequest, key_id: str) -> Any:
    """``own`` is what was set for this key, ``in_force`` what holds: the house's default where nothing was set, null without a
    limit."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return _body(fetch(actor, ApiKey, pk=key_id))


@router.put("/keys/{key_id}/limits", auth=key_auth(Act.OWN), response=Any, summary="Set what a key may ask")
def set_limits(request: HttpRequest, key_id: str, payload: KeyLimits) -> Any:
    """Holds within half a second in every web process."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    key = fetch(actor, ApiKey, pk=key_id)
    set_key_limits(actor=actor, key=key, limits=payload.dict())
    return _body(key)
