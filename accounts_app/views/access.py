"""The only ways to put a view on the web. Each decorator checks who is asking and records its rule on the view;
the route walk test fails on a route without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed
from django.views.decorators.csrf import csrf_exempt

from accounts_app.permissions import actor_from_key, project_for
from finetune_engine.errors import UserError

View = Callable[..., HttpResponseBase]


@dataclass(frozen=True)
class AccessRule:
    """Who may call a route: ``public``, ``signed_in``, ``project`` (role) or ``key`` (scope), and for which act
    per method."""

    kind: str
    acts: Mapping[str, str] = field(default_factory=dict)


def public_page(view: View) -> View:
    """Anybody, signed in or not."""
    view.access_rule = AccessRule("public")  # type: ignore[attr-defined]
    return view


def signed_in_page(view: View) -> View:
    """Anybody who is signed in; the view itself shows only what is theirs."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        return view(request, *args, **kwargs)

    checked.access_rule = AccessRule("signed_in")  # type: ignore[attr-defined]
    return checked


def project_page(act: str | Mapping[str, str]) -> Callable[[View], View]:
    """Members of the project in the address whose role allows the act. ``act`` is one act, or one per method
    (``{"GET": Act.VIEW, "POST": Act.TRAIN}``); a method without one is refused. The view gets ``(request, actor, ...)``.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, slug: str, *args: Any, **kwargs: Any) -> HttpResponseBase:
            method = "GET" if request.method == "HEAD" else str(request.method)
            wanted = act.get(method) if isinstance(act, Mapping) else act
            if wanted is None:
                return HttpResponseNotAllowed(list(act))
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            actor = project_for(request.user, slug, wanted)
            request.actor = actor  # type: ignore[attr-defined]
            return view(request, actor, *args, **kwargs)

        acts = dict(act) if isinstance(act, Mapping) else {"*": act}
        checked.access_rule = AccessRule("project", acts)  # type: ignore[attr-defined]
        return checked

    return decorate


def key_view(acts: Mapping[str, str]) -> Callable[[View], View]:
    """API routes outside ``/api/v1``: a key whose scopes allow the method's act. The view gets ``(request, actor, ...)``."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            method = "GET" if request.method == "HEAD" else str(request.method)
            if method not in acts:
                raise UserError(
                    "method_not_allowed", f"{method} is not possible here; use {', '.join(acts)}.", status=405
                )
            actor = actor_from_key(request.headers.get("Authorization"), acts[method])
            request.actor = actor  # type: ignore[attr-defined]
            return view(request, actor, *args, **kwargs)

        checked.access_rule = AccessRule("key", dict(acts))  # type: ignore[attr-defined]
        return csrf_exempt(checked)  # keys are not cookies: nothing to forge

    return decorate
