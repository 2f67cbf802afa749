"""What people change: webhooks, and their own wishes for mail. ``outbox`` writes what is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from accounts_app.operations import record
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from web_kit import outgoing, secrets
from work_kit.choices import WEBHOOK_EVENTS, MailAbout
from work_kit.models import Delivery, MailWish, WebhookEndpoint
from work_kit.notifications import messages, outbox, queries
from work_kit.notifications.signing import new_secret
from work_kit.queries import database_now

MOST_ENDPOINTS = 20


def add_endpoint(*, actor: Actor, url: str, events: Sequence[str] | None = None) -> tuple[WebhookEndpoint, str]:
    """A new webhook and its secret, which is not shown again. ``events`` None means all of them.

    Raises UserError for an address that this site may not reach, unknown events, or too many webhooks.
    """
    url = url.strip()
    if len(url) > 500:
        raise UserError("bad_url", _("The address is longer than 500 signs."), field="url")
    outgoing.check(url)
    chosen = _checked_events(events)
    secret = new_secret()
    with transaction.atomic():
        if queries.endpoints_of(actor.project).count() >= MOST_ENDPOINTS:
            raise UserError(
                "too_many_webhooks",
                _("A project has at most %(n)s webhooks. Delete one that is no longer needed.") % {"n": MOST_ENDPOINTS},
            )
        endpoint = WebhookEndpoint.objects.create(
            project=actor.project, url=url, secret=secrets.encrypt(secret), events=chosen, created_by=actor.user
        )
        _audit(actor, "webhook.add", endpoint, {"events": chosen})
    return endpoint, secret


def change_endpoint(
    *, actor: Actor, endpoint: WebhookEndpoint, is_enabled: bool | None = None, events: Sequence[str] | None = None
) -> WebhookEndpoint:
    """Switch a webhook on or off, or choose other events. What waits for one that is switched off is given up."""
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
        if events is not None:
            endpoint.events = _checked_events(events)
        if is_enabled is not None:
            endpoint.is_enabled = is_enabled
        endpoint.save(update_fields=["events", "is_enabled"])
        if not endpoint.is_enabled:
            outbox.give_up_waiting(endpoint, _("The webhook was switched off."))
        _audit(actor, "webhook.change", endpoint, {"is_enabled": endpoint.is_enabled, "events": endpoint.events})
    return endpoint


def rotate_secret(*, actor: Actor, endpoint: WebhookEndpoint) -> str:
    """A new secret, shown once. From this moment messages are signed with it alone."""
    secret = new_secret()
    with transaction.atomic():
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(secret=secrets.encrypt(secret))
        _audit(actor, "webhook.rotate_secret", endpoint)
    return secret


def delete_endpoint(*, actor: Actor, endpoint: WebhookEndpoint) -> None:
    """Delete a webhook and the record of what was sent to it."""
    with transaction.atomic():
        _audit(actor, "webhook.delete", endpoint)
        endpoint.delete()


def send_test(*, actor: Actor, endpoint: WebhookEndpoint) -> Delivery:
    """Put a test message in the outbox: an event about a job that does not exist. It is tried once."""
    if not endpoint.is_enabled:
        raise UserError(
            "webhook_is_off", _("This webhook is switched off. Switch it on to send it a test."), status=409
        )
    now = database_now()
    event = endpoint.events[0]
    with transaction.atomic():
        delivery = Delivery.objects.create(
            endpoint=endpoint,
            event=event,
            payload=messages.sample_body(event, outbox.TEST_OBJECT, now),
            available_at=now,
            created_at=now,
        )
        _audit(actor, "webhook.test", endpoint)
    return delivery


def repeat_delivery(*, actor: Actor, delivery: Delivery) -> Delivery:
    """Send a message again that was taken or given up, under the same id. Raises UserError while it waits anyway."""
    endpoint = delivery.endpoint
    if endpoint is None or not endpoint.is_enabled:
        raise UserError("webhook_is_off", _("This webhook is switched off. Switch it on to send again."), status=409)
    with transaction.atomic():
        ended = Delivery.objects.filter(pk=delivery.pk).exclude(delivered_at=None, given_up_at=None)
        moved = ended.update(
            attempts=0,
            available_at=database_now(),
            delivered_at=None,
            given_up_at=None,
            response_status=None,
            problem="",
        )
        if not moved:
            raise UserError("delivery_waits", _("This message waits to be sent already."), status=409)
        _audit(actor, "webhook.repeat", endpoint, {"delivery": delivery.pk})
    delivery.refresh_from_db()
    return delivery


def _checked_events(events: Sequence[str] | None) -> list[str]:
    chosen = list(WEBHOOK_EVENTS) if events is None else [name for name in WEBHOOK_EVENTS if name in events]
    unknown = [str(name) for name in events or () if name not in WEBHOOK_EVENTS]
    if unknown or not chosen:
        raise UserError(
            "bad_events",
            _("Choose at least one of these events: %(names)s.") % {"names": ", ".join(WEBHOOK_EVENTS)},
            field="events",
        )
    return chosen


def _audit(actor: Actor, act: str, endpoint: WebhookEndpoint, data: dict[str, Any] | None = None) -> None:
    record(actor=actor, project=actor.project, act=act, subject=f"webhook {endpoint.pk}", data=data)


def set_mail_wish(*, actor: Actor, about: str) -> None:
    """Which ended jobs of the project this person wants letters about. Raises UserError for a key or an unknown wish."""
    if actor.user is None:
        raise UserError("no_person", _("Only a person can wish for e-mail."))
    if about not in MailAbout.values:
        raise UserError("bad_wish", _("Choose one of the offered wishes."), field="about")
    with transaction.atomic():
        MailWish.objects.update_or_create(user=actor.user, project=actor.project, defaults={"about": about})
        record(actor=actor, project=actor.project, act="mail.wish", subject="own e-mail", data={"about": about})


def reencrypt_secrets() -> int:
    """Encrypt every webhook's secret under the newest SECRET_KEY; returns how many. Raises UserError at an unreadable one."""
    with transaction.atomic():
        rows = list(WebhookEndpoint.objects.select_for_update())
        for row in rows:
            WebhookEndpoint.objects.filter(pk=row.pk).update(secret=secrets.rotated(row.secret))
    return len(rows)
