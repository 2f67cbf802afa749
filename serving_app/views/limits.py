"""What each key may ask, and what it has asked."""

from __future__ import annotations

import re
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.models import ApiKey
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from finetune_engine.errors import UserError
from serving_app.operations import set_key_limits
from serving_app.queries.limits import LIMITS, house_limits, limited_keys, month_of
from serving_app.queries.usage import usage_by_key

_WHOLE = re.compile(r"\d{1,20}|\d{1,3}([ \u202f\u00a0,.'\u2019]\d{3}){1,6}")
"""A number with or without marks between its thousands: 1.5 is none."""


@project_page({"GET": Act.VIEW, "POST": Act.OWN})
def limits(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The keys of the project with their limits; POST sets those of one key (``key``), an empty field means the house's."""
    if request.method != "POST":
        return _page(request, actor)
    key = fetch(actor, ApiKey, pk=request.POST.get("key", ""))
    try:
        set_key_limits(actor=actor, key=key, limits={name: _amount(request, name) for name in LIMITS})
    except UserError as error:
        return _page(request, actor, error=error, at=key.pk)
    messages.success(request, _("The limits of “%(name)s” hold from now on.") % {"name": key.name})
    return redirect("serving:limits", actor.project.slug)


def _page(request: HttpRequest, actor: Actor, error: UserError | None = None, at: str = "") -> HttpResponse:
    now = timezone.now()
    used = usage_by_key(actor.project, month_of(now), now)
    keys = [{"limited": limited, "usage": used[limited.key.pk]} for limited in limited_keys(actor.project)]
    context: dict[str, Any] = {
        "project": actor.project,
        "keys": keys,
        "others": [usage for group, usage in used.items() if usage.requests and group not in _shown(keys)],
        "house": house_limits(),
        "may_change": actor.may(Act.OWN),
        "error": error,
        "error_at": at,
        "month": month_of(now),
    }
    return render(request, "serving_app/limits.html", context, status=422 if error else 200)


def _shown(keys: list[dict[str, Any]]) -> set[str]:
    return {line["limited"].key.pk for line in keys}


def _amount(request: HttpRequest, name: str) -> int | None:
    """The number in a field, None when it is empty. People write thousands with points, commas or spaces."""
    text = request.POST.get(name, "").strip()
    if not text:
        return None
    if not _WHOLE.fullmatch(text):
        raise UserError("invalid_value", _("This must be a whole number, or empty for the usual limit."), field=name)
    return int(re.sub(r"\D", "", text))
