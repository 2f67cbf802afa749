"""Everything that changes people, projects, keys and the audit trail."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import connection, transaction
from django.utils import timezone
from django.utils.text import slugify

from accounts_app.choices import Role, Scope
from accounts_app.models import ApiKey, AuditEntry, Invitation, Membership, Project, User
from accounts_app.permissions import KEY_PREFIX, Actor, hash_of_key
from finetune_engine.errors import UserError

INVITATION_DAYS = 7
_AUDIT_LOCK = 7203001  # any constant: the one advisory lock under which audit entries are chained


@transaction.atomic
def record(
    *,
    actor: Actor | None,
    project: Project | None,
    act: str,
    subject: str = "",
    data: dict[str, Any] | None = None,
    user: User | None = None,
) -> AuditEntry:
    """Append one audit entry, chained to the one before it. Call inside the operation's transaction.

    ``subject`` names the object (``dataset 01h...``); ``data`` holds JSON values and never row content or secrets.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_AUDIT_LOCK])
    last = AuditEntry.objects.order_by("-id").first()
    person = user or (actor.user if actor else None)
    key = actor.api_key if actor else None
    # Who it was stays readable, and under the hash, when the person or the key is deleted later.
    by = f"person {person.pk}" if person else f"key {key.prefix}" if key else "site"
    entry = AuditEntry(
        project=project,
        user=person,
        api_key=key,
        act=act,
        subject=subject[:200],
        data={"by": by} | (data or {}),
        at=timezone.now(),
        previous_sha256=last.sha256 if last else "",
    )
    entry.sha256 = audit_digest(entry)
    entry.save(force_insert=True)
    return entry


def audit_digest(entry: AuditEntry) -> str:
    """The entry's own hash: over its content and the hash before it, so that a change anywhere shows."""
    content = [
        entry.previous_sha256,
        entry.at.isoformat(),
        entry.act,
        entry.subject,
        entry.data,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def create_project(*, user: User, name: str, description: str = "") -> Project:
    """A new project owned by this person."""
    name = name.strip()
    if not name:
        raise UserError("name_missing", "Give the project a name.", field="name")
    with transaction.atomic():
        project = Project.objects.create(
            name=name[:120], slug=_free_slug(name), description=description, created_by=user
        )
        Membership.objects.create(project=project, user=user, role=Role.OWNER)
        record(actor=None, user=user, project=project, act="project.create", subject=f"project {project.slug}")
    return project


def _free_slug(name: str) -> str:
    base = slugify(name)[:50] or "project"
    slug, number = base, 1
    while Project.objects.filter(slug=slug).exists():
        number += 1
        slug = f"{base}-{number}"
    return slug


def create_api_key(
    *,
    project: Project,
    name: str,
    scopes: Sequence[str],
    actor: Actor | None = None,
    expires_in_days: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its text, which cannot be read again. Raises UserError for an unknown or missing scope."""
    chosen = [scope for scope in Scope.values if scope in set(scopes)]
    unknown = sorted(set(scopes) - set(Scope.values))
    if unknown or not chosen:
        raise UserError(
            "unknown_scope",
            f"Unknown scope {unknown[0]!r}: choose among {', '.join(Scope.values)}."
            if unknown
            else f"Choose at least one scope: {', '.join(Scope.values)}.",
            field="scopes",
        )
    text = KEY_PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        key = ApiKey.objects.create(
            project=project,
            name=name.strip()[:80] or "key",
            prefix=text[:12],
            sha256=hash_of_key(text),
            scopes=chosen,
            created_by=actor.user if actor else None,
            expires_at=timezone.now() + timedelta(days=expires_in_days) if expires_in_days else None,
        )
        record(actor=actor, project=project, act="api_key.create", subject=f"key {key.prefix}", data={"scopes": chosen})
    return key, text


def revoke_api_key(*, actor: Actor, key: ApiKey) -> ApiKey:
    """The key stops working at once. Revoking twice changes nothing."""
    with transaction.atomic():
        now = timezone.now()
        if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now):
            record(actor=actor, project=actor.project, act="api_key.revoke", subject=f"key {key.prefix}")
    key.refresh_from_db()
    return key


def invite(
    *, email: str, role: str, project: Project | None, actor: Actor | None = None, days: int = INVITATION_DAYS
) -> tuple[Invitation, str]:
    """An invitation and the secret of its one-time link. ``project=None`` is the first owner's own link."""
    if role not in Role.values:
        raise UserError("unknown_role", f"Unknown role {role!r}: choose among {', '.join(Role.values)}.", field="role")
    email = email.strip().lower()
    if email:
        _check_email(email)
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        invitation = Invitation.objects.create(
            project=project,
            email=email,
            role=role,
            token_sha256=hash_of_key(token),
            created_by=actor.user if actor else None,
            expires_at=timezone.now() + timedelta(days=days),
        )
        record(
            actor=actor, project=project, act="invitation.create", subject=email or "first owner", data={"role": role}
        )
    return invitation, token


def revoke_invitation(*, actor: Actor, invitation: Invitation) -> None:
    """The link stops working."""
    with transaction.atomic():
        if Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None).update(
            revoked_at=timezone.now()
        ):
            record(actor=actor, project=actor.project, act="invitation.revoke", subject=invitation.email)


def accept_invitation(
    *, invitation: Invitation, user: User | None, email: str = "", name: str = "", password: str = ""
) -> User:
    """Join: as the signed-in ``user``, or as a new person with this address and password.

    Raises UserError when the link was used, revoked or has expired, when the address belongs to somebody
    already (sign in first), or when the password is too weak.
    """
    with transaction.atomic():
        now = timezone.now()
        moved = Invitation.objects.filter(
            pk=invitation.pk, accepted_at=None, revoked_at=None, expires_at__gt=now
        ).update(accepted_at=now)
        if not moved:
            raise UserError(
                "invitation_spent",
                "This link was used already or is too old. Ask for a new one.",
                status=410,
            )
        if user is None:
            user = create_user(email=invitation.email or email, name=name, password=password)
        project = invitation.project
        if project is not None:
            Membership.objects.get_or_create(project=project, user=user, defaults={"role": invitation.role})
        record(actor=None, user=user, project=project, act="invitation.accept", subject=f"person {user.pk}")
    return user


def create_user(*, email: str, name: str, password: str) -> User:
    """A new person. Raises UserError naming the field at fault."""
    email = email.strip().lower()
    _check_email(email)
    if User.objects.filter(email=email).exists():
        raise UserError(
            "email_taken", "This address already has an account. Sign in, then open the link again.", field="email"
        )
    try:
        validate_password(password, User(email=email, name=name))
    except ValidationError as error:
        raise UserError("weak_password", " ".join(error.messages), field="password") from error
    return User.objects.create_user(email=email, password=password, name=name.strip()[:120])


def change_role(*, actor: Actor, membership: Membership, role: str) -> None:
    """Give a member another role. A project keeps at least one owner."""
    if role not in Role.values:
        raise UserError("unknown_role", f"Unknown role {role!r}.", field="role")
    with transaction.atomic():
        _keep_an_owner(membership, becomes=role)
        Membership.objects.filter(pk=membership.pk).update(role=role)
        record(
            actor=actor,
            project=actor.project,
            act="member.role",
            subject=f"person {membership.user_id}",
            data={"from": membership.role, "to": role},
        )


def remove_member(*, actor: Actor, membership: Membership) -> None:
    """Take somebody out of the project; what they made stays."""
    with transaction.atomic():
        _keep_an_owner(membership, becomes="")
        Membership.objects.filter(pk=membership.pk).delete()
        record(actor=actor, project=actor.project, act="member.remove", subject=f"person {membership.user_id}")


def _keep_an_owner(membership: Membership, *, becomes: str) -> None:
    owners = Membership.objects.select_for_update().filter(project=membership.project_id, role=Role.OWNER)
    if becomes != Role.OWNER and [owner.pk for owner in owners] == [membership.pk]:
        raise UserError("last_owner", "A project needs an owner: make somebody else an owner first.", field="role")


def _check_email(email: str) -> None:
    try:
        validate_email(email)
    except ValidationError as error:
        raise UserError(
            "bad_email", "This is not an e-mail address: it needs the form name@place.org.", "email"
        ) from error


def invite_first_owner() -> str:
    """The secret of a one-time link that makes the site's first account. Earlier such links stop working.

    Raises UserError once somebody has an account.
    """
    if User.objects.exists():
        raise UserError("has_owner", "This site has accounts already; ask an owner to invite you.", status=409)
    with transaction.atomic():
        Invitation.objects.filter(project=None, accepted_at=None, revoked_at=None).update(revoked_at=timezone.now())
        return invite(email="", role=Role.OWNER, project=None)[1]


def change_password(*, user: User, current: str, password: str) -> None:
    """A new password for oneself. Raises UserError when the present one is wrong or the new one too weak."""
    if not user.check_password(current):
        raise UserError("wrong_password", "This is not your present password.", field="current")
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise UserError("weak_password", " ".join(error.messages), field="password") from error
    with transaction.atomic():
        user.set_password(password)
        user.save(update_fields=["password"])
        record(actor=None, user=user, project=None, act="password.change", subject=f"person {user.pk}")
