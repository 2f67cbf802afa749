"""Reviewers from outside: a secret link to one review's queue, and to nothing else."""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor, hash_of_key
from evaluation_app.models import Review, ReviewerLink, ReviewLock
from evaluation_app.operations.reviews import hold_review
from evaluation_app.operations.typed_text import typed_text
from finetune_engine.errors import UserError

LINK_DAYS = 14
MOST_DAYS = 90
MOST_LINKS = 100
TOKEN_BYTES = 32


def invite_reviewer(
    *, actor: Actor, review: Review, name: str, email: str = "", days: int = LINK_DAYS
) -> tuple[ReviewerLink, str]:
    """A link for one person from outside, and its secret, which is shown now and never again: only its SHA-256 is kept.

    Letting outsiders see data is an owner's act. Raises UserError naming the field, and 409 for a closed review.
    """
    actor.require(Act.OWN)
    clean, address = typed_text(" ".join(name.split()), 120), email.strip().lower()
    if not clean:
        raise UserError("name_missing", _("Say who this link is for."), field="name")
    if address:
        _check_address(address)
    if not 1 <= days <= MOST_DAYS:
        sentence = _("A link lasts from 1 to %(most)s days.") % {"most": MOST_DAYS}
        raise UserError("bad_days", sentence, field="days")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with transaction.atomic():
        held = hold_review(review.pk)
        if held.links.filter(revoked_at=None).count() >= MOST_LINKS:
            sentence = _("A review can have %(most)s links at most. Withdraw one first.") % {"most": MOST_LINKS}
            raise UserError("too_many_links", sentence, status=409)
        link = ReviewerLink.objects.create(
            review=held,
            name=clean,
            email=address,
            token_sha256=hash_of_key(token),
            created_by=actor.user,
            expires_at=timezone.now() + timedelta(days=days),
        )
        _record(actor, review, "review.invite", link)
    return link, token


def revoke_reviewer(*, actor: Actor, link: ReviewerLink) -> None:
    """The link stops working at once; what was judged with it stays. Revoking twice changes nothing."""
    actor.require(Act.OWN)
    with transaction.atomic():
        if ReviewerLink.objects.filter(pk=link.pk, revoked_at=None).update(revoked_at=timezone.now()):
            ReviewLock.objects.filter(item__review=link.review_id, rater=f"link:{link.pk}").delete()
            _record(actor, link.review, "review.revoke", link)


def note_opened(*, link: ReviewerLink) -> None:
    """The link was opened for the first time."""
    ReviewerLink.objects.filter(pk=link.pk, opened_at=None).update(opened_at=timezone.now())


def _check_address(address: str) -> None:
    try:
        validate_email(address)
    except ValidationError as error:
        raise UserError("bad_email", _("This is not an e-mail address."), field="email") from error


def _record(actor: Actor, review: Review, act: str, link: ReviewerLink) -> None:
    data = {"link": link.pk, "name": link.name}
    record(actor=actor, project=actor.project, act=act, subject=f"review {review.pk}", data=data)
