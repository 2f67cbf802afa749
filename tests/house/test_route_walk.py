"""Every address x method x identity: a route without a rule fails, and each rule is what really happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from ninja.operation import PathView

from accounts_app.api import KeyAuth
from accounts_app.choices import ROLE_ACTS, SCOPE_ACTS, Role, Scope
from accounts_app.models import ApiKey
from accounts_app.views.access import AccessRule

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
NOBODY_BY_DESIGN = {"api:openapi-json", "api:api-root"}  # the API's own description


@dataclass(frozen=True)
class Route:
    path: str
    name: str
    pattern: URLPattern

    @property
    def rule(self) -> AccessRule | None:
        return getattr(self.pattern.callback, "access_rule", None)


def _walk(resolver: URLResolver, prefix: str = "", namespace: str = "") -> Iterator[Route]:
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            inner = f"{namespace}{entry.namespace}:" if entry.namespace else namespace
            yield from _walk(entry, route, inner)
        else:
            yield Route(route, f"{namespace}{entry.name or ''}", entry)


def routes() -> list[Route]:
    return list(_walk(get_resolver()))


def _concrete(route: Route, slug: str) -> str:
    import re

    def fill(match: re.Match[str]) -> str:
        kind, _, name = match.group(1).rpartition(":")
        if name == "slug":
            return slug
        return "987654" if kind == "int" else "0" * 26

    return "/" + re.sub(r"<([^>]+)>", fill, route.path)


def _ninja(route: Route) -> PathView | None:
    """The operations behind a ninja route, None for any other."""
    callback = route.pattern.callback
    return getattr(callback, "__self__", None) or _closed_over(callback)


def _closed_over(callback: object) -> PathView | None:
    for cell in getattr(callback, "__closure__", None) or ():
        if isinstance(cell.cell_contents, PathView):
            return cell.cell_contents
    return None


def _expected_acts(route: Route, method: str) -> str | None:
    rule = route.rule
    assert rule is not None
    return rule.acts.get(method, rule.acts.get("*"))


def test_every_route_has_a_rule() -> None:
    bare = []
    for route in routes():
        view = _ninja(route)
        if route.rule is not None or route.name in NOBODY_BY_DESIGN:
            continue
        if view is not None and all(
            op.auth_callbacks and all(isinstance(auth, KeyAuth) for auth in op.auth_callbacks) for op in view.operations
        ):
            continue
        bare.append(f"{route.path} ({route.name})")
    assert bare == [], "these routes say nothing about who may call them"


def test_the_gateway_routes_have_rules() -> None:
    from serving_app.gateway import routes as gateway

    assert gateway.PATHS
    for route in gateway.ROUTES:
        assert isinstance(route.endpoint.access_rule, AccessRule), route.path


@pytest.mark.parametrize("role", [None, "outsider", *Role.values])
def test_pages_answer_each_role_by_their_rule(role, project, owner, trainer, reviewer, viewer, outsider) -> None:
    people = {"owner": owner, "trainer": trainer, "reviewer": reviewer, "viewer": viewer, "outsider": outsider}
    client = Client(raise_request_exception=True)
    wrong = []
    for route in [route for route in routes() if route.rule and route.rule.kind == "project"]:
        for method in METHODS:
            if role:
                client.force_login(people[role], backend="django.contrib.auth.backends.ModelBackend")
            act = _expected_acts(route, method)
            response = client.generic(method, _concrete(route, project.slug))
            status = response.status_code
            if act is None:
                fine = status == 405
            elif role is None:
                fine = status == 302 and "/account/sign-in" in response["Location"]
            elif role == "outsider":
                fine = status == 404
            elif act in ROLE_ACTS[role]:
                fine = status != 403 and status < 500 and "sign-in" not in response.get("Location", "")
            else:
                fine = status == 403
            if not fine:
                wrong.append(f"{method} {route.path} as {role}: {status}")
    assert wrong == []


def _bearer(key: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {key}"} if key else {}


@pytest.mark.parametrize("scope", ["", "revoked", "expired", "unknown", *Scope.values])
def test_api_routes_answer_each_key_by_their_rule(scope, project, api_key) -> None:
    from django.utils import timezone

    key = "tsk_nobody_knows_this" if scope == "unknown" else ""
    if scope in {"revoked", "expired"}:
        key = api_key("read", "train", "predict", "admin")
        field = "revoked_at" if scope == "revoked" else "expires_at"
        ApiKey.objects.update(**{field: timezone.now()})
    elif scope in Scope.values:
        key = api_key(scope)
    client = Client(raise_request_exception=True)
    wrong = []
    for route in routes():
        for method, act in _api_acts(route):
            response = client.generic(
                method, _concrete(route, project.slug), b"{}", content_type="application/json", **_bearer(key)
            )
            status = response.status_code
            if scope not in Scope.values:
                fine = status == 401
            elif act in SCOPE_ACTS[scope]:
                fine = status not in {401, 403} and status < 500
            else:
                fine = status == 403
            if not fine:
                wrong.append(f"{method} {route.path} with {scope or 'no'} key: {status}")
            elif status >= 400:
                assert set(json.loads(response.content)["error"]) >= {"message", "type", "code"}, route.path
    assert wrong == []


def _api_acts(route: Route) -> list[tuple[str, str]]:
    if route.rule is not None:
        return list(route.rule.acts.items()) if route.rule.kind == "key" else []
    view = _ninja(route)
    if view is None or route.name in NOBODY_BY_DESIGN:
        return []
    return [(method, op.auth_callbacks[0].act) for op in view.operations for method in op.methods]


def test_a_session_opens_no_api_route_and_a_key_opens_no_page(project, owner, api_key) -> None:
    signed_in = Client()
    signed_in.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    keyed = Client(HTTP_AUTHORIZATION=f"Bearer {api_key('admin')}")
    for route in routes():
        path = _concrete(route, project.slug)
        for method, _ in _api_acts(route):
            assert signed_in.generic(method, path, b"{}", content_type="application/json").status_code == 401, path
        if route.rule and route.rule.kind == "project":
            for method in [m for m in METHODS if _expected_acts(route, m)]:
                assert keyed.generic(method, path).status_code == 302, path


def test_the_description_of_the_api_is_public() -> None:
    assert Client().get("/api/v1/openapi.json").status_code == 200
