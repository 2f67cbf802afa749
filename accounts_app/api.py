"""How the native API knows who is asking."""

from __future__ import annotations

from django.http import HttpRequest
from ninja.security import HttpBearer

from accounts_app.permissions import Actor, actor_from_key


class KeyAuth(HttpBearer):
    """A project's API key whose scopes allow ``act``. Sets ``request.auth`` to the Actor."""

    def __init__(self, act: str) -> None:
        super().__init__()
        self.act = act

    def __call__(self, request: HttpRequest) -> Actor:
        """The Actor behind the header. Raises UserError 401 or 403."""
        return actor_from_key(request.headers.get("Authorization"), self.act)

    def authenticate(self, request: HttpRequest, token: str) -> Actor:
        """Unused by ninja because ``__call__`` reads the header itself; kept for its interface."""
        return actor_from_key(f"Bearer {token}", self.act)


def key_auth(act: str) -> KeyAuth:
    """``auth=key_auth(Act.TRAIN)`` on a ninja operation."""
    return KeyAuth(act)
