"""Reads about people and projects."""

from __future__ import annotations

from django.db.models import QuerySet
from django.utils import timezone

from accounts_app.models import ApiKey, AuditEntry, Invitation, Membership, Project, User


def projects_of(user: User) -> QuerySet[Project]:
    """The projects this person is a member of, by name."""
    return Project.objects.filter(memberships__user_id=user.pk).order_by("name")


def members_of(project: Project) -> QuerySet[Membership]:
    """Who is in the project, oldest membership first."""
    return Membership.objects.filter(project=project).select_related("user").order_by("created_at")


def open_invitations(project: Project) -> QuerySet[Invitation]:
    """Links that still work."""
    return Invitation.objects.filter(
        project=project, accepted_at=None, revoked_at=None, expires_at__gt=timezone.now()
    ).order_by("created_at")


def keys_of(project: Project) -> QuerySet[ApiKey]:
    """All keys, newest first; revoked ones included."""
    return ApiKey.objects.filter(project=project).select_related("created_by").order_by("-id")


def recent_audit(project: Project, limit: int = 50) -> list[AuditEntry]:
    """The newest audit entries."""
    return list(AuditEntry.objects.filter(project=project).select_related("user", "api_key").order_by("-id")[:limit])


def has_anybody() -> bool:
    """Whether the site has an account yet."""
    return User.objects.exists()
