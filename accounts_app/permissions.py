"""Permission is how an object is fetched: whoever has an ``Actor`` has been asked already."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404
from django.utils import timezone

from accounts_app.choices import ROLE_ACTS, SCOPE_ACTS
from accounts_app.models import ApiKey, Membership, Project, User
from finetune_engine.errors import UserError

M = TypeVar("M", bound=models.Model)

KEY_PREFIX = "tsk_"


@dataclass(frozen=True)
class Actor:
    """Somebody acting in one project: a person with a role there, or a key of that project."""

    project: Project
    acts: frozenset[str]
    user: User | None = None
    api_key: ApiKey | None = None
    role: str = ""

    def may(self, act: str) -> bool:
        """Whether this act is allowed."""
        return act in self.acts

    def require(self, act: str) -> None:
        """Raises PermissionDenied unless the act is allowed."""
        if act not in self.acts:
            raise PermissionDenied(f"this needs the right to {act}")


def project_for(user: Any, slug: str, act: str) -> Actor:
    """This person in the project with this slug. Raises Http404 for an outsider (exactly as for a missing
    project) and PermissionDenied for a member whose role does not allow the act."""
    membership = Membership.objects.select_related("project").filter(project__slug=slug, user_id=user.pk).first()
    if membership is None:
        raise Http404("no such project")
    actor = Actor(project=membership.project, acts=ROLE_ACTS[membership.role], user=user, role=str(membership.role))
    actor.require(act)
    return actor


def hash_of_key(key: str) -> str:
    """What is stored of a key. Keys are 256 random bits, so a plain SHA-256 cannot be guessed backwards."""
    return hashlib.sha256(key.encode()).hexdigest()


def actor_from_key(authorization: str | None, act: str) -> Actor:
    """The key in an ``Authorization: Bearer tsk_...`` header. Raises UserError 401 for a missing, unknown,
    revoked or expired key (one answer for all four) and 403 for a key without the scope."""
    scheme, _, key = (authorization or "").partition(" ")
    key = key.strip()
    found: ApiKey | None = None
    if scheme.lower() == "bearer" and key.startswith(KEY_PREFIX):
        found = ApiKey.objects.select_related("project").filter(sha256=hash_of_key(key)).first()
    now = timezone.now()
    if found is None or found.revoked_at is not None or (found.expires_at is not None and found.expires_at <= now):
        raise UserError(
            "invalid_api_key",
            "This needs a valid API key: send the header 'Authorization: Bearer tsk_...'. "
            "A project's owner makes keys on the page Team.",
            status=401,
        )
    acts: frozenset[str] = frozenset().union(*(SCOPE_ACTS.get(scope, frozenset()) for scope in found.scopes))
    if act not in acts:
        raise UserError(
            "insufficient_scope",
            f"This key's scopes ({', '.join(found.scopes) or 'none'}) do not allow this call. "
            "Make a key with the scope it needs on the page Team.",
            status=403,
        )
    if found.last_used_at is None or now - found.last_used_at > timedelta(minutes=1):
        ApiKey.objects.filter(pk=found.pk).update(last_used_at=now)
    return Actor(project=found.project, acts=acts, api_key=found)


def fetch(actor: Actor, source: type[M] | models.QuerySet[M], **lookup: Any) -> M:
    """The object of the actor's project. Raises Http404 when there is none: another project's object looks
    exactly like a missing one."""
    rows: models.QuerySet[M] = source if isinstance(source, models.QuerySet) else source._default_manager.all()
    found = rows.filter(project_id=actor.project.pk, **lookup).first()
    if found is None:
        raise Http404("no such object")
    return found
