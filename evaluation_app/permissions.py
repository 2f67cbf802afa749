"""Who judges in a review: a member, a program with a key, or somebody from outside who holds a link."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone

from accounts_app.models import ApiKey, User
from accounts_app.permissions import Actor, hash_of_key
from evaluation_app.models import ReviewerLink

SHORTEST_TOKEN = 40  # characters of 256 bits in base64


@dataclass(frozen=True)
class Rater:
    """One who judges. ``name`` is ``user:<id>``, ``key:<id>`` or ``link:<id>``; exactly one of the rest is set."""

    name: str
    user: User | None = None
    api_key: ApiKey | None = None
    link: ReviewerLink | None = None
    actor: Actor | None = None  # None for a guest


@dataclass(frozen=True)
class OpenedLink:
    """What a guest's link leads to. ``problem`` is empty while it may be used, else ``revoked`` or ``expired``."""

    link: ReviewerLink
    problem: str = ""


def rater_of(actor: Actor) -> Rater:
    """The member or key as a rater. Raises PermissionDenied without the right to decide and vote."""
    actor.require("review")
    if actor.user is not None:
        return Rater(f"user:{actor.user.pk}", user=actor.user, actor=actor)
    assert actor.api_key is not None
    return Rater(f"key:{actor.api_key.pk}", api_key=actor.api_key, actor=actor)


def guest(link: ReviewerLink) -> Rater:
    """The holder of a link as a rater."""
    return Rater(f"link:{link.pk}", link=link)


def open_link(token: str) -> OpenedLink | None:
    """The link with this secret, whether it may still be used; None when there is none."""
    if len(token) < SHORTEST_TOKEN:
        return None
    link = ReviewerLink.objects.select_related("review", "review__project").filter(token_sha256=hash_of_key(token))
    found = link.first()
    if found is None:
        return None
    if found.revoked_at is not None:
        return OpenedLink(found, "revoked")
    return OpenedLink(found, "expired" if found.expires_at <= timezone.now() else "")
