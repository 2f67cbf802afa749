"""Everything that changes webhooks, wishes for mail, and the outbox."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from accounts_app.models import Membership, User
from accounts_app.operations import record
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from web_kit import outgoing, secrets
from work_kit.choices import TERMINAL, WEBHOOK_EVENTS, MailAbout, State
from work_kit.models import Delivery, Job, MailWish, WebhookEndpoint
from work_kit.notifications import messages, queries
from work_kit.notifications.signing import new_secret
from work_kit.queries import database_now

MOST_ENDPOINTS = 20
MAIL_EVENT = "mail"
TEST_OBJECT = "ftjob-test"
SENDING_SECONDS = 90  # how long one sending may take; afterwards the message is anybody's again
PAUSES = (5, 300, 1_800, 7_200, 18_000, 36_000)  # seconds after the first, second ... failure; then given up
KEPT_DAYS = 30


# --- webhooks ------------------------------------------------------------------------------------------------


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
        if queries.endpoints_of(actor.project).select_for_update().count() >= MOST_ENDPOINTS:
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
            _give_up_waiting(endpoint, _("The webhook was switched off."))
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
            payload=messages.sample_body(event, TEST_OBJECT, now),
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


# --- the outbox ----------------------------------------------------------------------------------------------


def tell(job: Job) -> None:
    """Write down whom to tell that ``job`` has ended. Called inside the transaction that ends it."""
    if job.state not in TERMINAL:
        return
    rows = [*_to_programs(job), *_to_people(job)]
    if rows:
        Delivery.objects.bulk_create(rows)


def _to_programs(job: Job) -> list[Delivery]:
    event = messages.event_name(job)
    if event is None:
        return []
    wanting = [
        row for row in WebhookEndpoint.objects.filter(project=job.project_id, is_enabled=True) if event in row.events
    ]
    if not wanting:
        return []
    now = database_now()
    body = messages.event_body(job, event=event, at=job.finished_at or now)
    return [
        Delivery(endpoint=row, job=job, event=event, payload=body, available_at=now, created_at=now) for row in wanting
    ]


def _to_people(job: Job) -> list[Delivery]:
    if not queries.mail_is_sent() or not messages.is_for_people(job):
        return []
    now = database_now()
    wishes = dict(MailWish.objects.filter(project=job.project_id).values_list("user_id", "about"))
    rows = []
    for membership in Membership.objects.filter(project=job.project_id).select_related("user"):
        about = str(wishes.get(membership.user_id, MailAbout.FAILURES))
        if membership.user.is_active and _is_wanted(job, membership.user, about):
            text = messages.letter(job, membership.user, about)
            rows.append(
                Delivery(
                    recipient=membership.user, job=job, event=MAIL_EVENT, payload=text, available_at=now, created_at=now
                )
            )
    return rows


def _is_wanted(job: Job, person: User, about: str) -> bool:
    is_own = job.created_by_id == person.pk
    return (
        about == MailAbout.ALL
        or (about == MailAbout.MINE and is_own)
        or (about == MailAbout.FAILURES and is_own and job.state == State.FAILED)
    )


@dataclass(frozen=True)
class Claimed:
    """A message that this process may send now. ``attempt`` is its fence: another number means another sender.

    Either ``url`` (with ``secret`` and ``body``) or ``address`` (with ``letter``) is set.
    """

    id: str
    attempt: int
    url: str = ""
    secret: str = field(default="", repr=False)
    body: bytes = b""
    address: str = ""
    letter: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a sending went. ``problem`` is empty when the message was taken; ``is_final`` when trying again is useless."""

    status: int | None = None
    problem: str = ""
    is_final: bool = False


def claim_deliveries(*, most: int) -> list[Claimed]:
    """Take messages that are due, for ``SENDING_SECONDS``. Two senders never get the same one: the UPDATE holds only
    where nobody has tried since it was read."""
    now = database_now()
    claimed = []
    for row in queries.due_deliveries(now, most):
        untouched = Delivery.objects.filter(
            pk=row.pk, attempts=row.attempts, available_at__lte=now, delivered_at=None, given_up_at=None
        )
        if not untouched.update(attempts=F("attempts") + 1, available_at=now + timedelta(seconds=SENDING_SECONDS)):
            continue
        if (found := _claimed(row)) is not None:
            claimed.append(found)
    return claimed


def _claimed(row: Delivery) -> Claimed | None:
    attempt = row.attempts + 1
    if row.endpoint is None:
        assert row.recipient is not None  # the table's constraint
        return Claimed(row.pk, attempt, address=row.recipient.email, letter=row.payload)
    try:
        secret = secrets.decrypt(row.endpoint.secret)
    except UserError as unreadable:
        record_outcome(Claimed(row.pk, attempt), Outcome(problem=unreadable.sentence, is_final=True))
        return None
    body = json.dumps(row.payload, separators=(",", ":"), ensure_ascii=False).encode()
    return Claimed(row.pk, attempt, url=row.endpoint.url, secret=secret, body=body)


def record_outcome(claimed: Claimed, outcome: Outcome) -> bool:
    """Write down how a sending went. False when somebody else has taken the message over meanwhile."""
    now = database_now()
    held = Delivery.objects.filter(pk=claimed.id, attempts=claimed.attempt, delivered_at=None, given_up_at=None)
    told = {"response_status": outcome.status, "problem": outcome.problem[:300]}
    if not outcome.problem:
        return bool(held.update(delivered_at=now, **told))
    is_test = held.filter(job=None, payload__data__id=TEST_OBJECT).exists()
    if outcome.is_final or is_test or claimed.attempt > len(PAUSES):
        return bool(held.update(given_up_at=now, **told))
    pause = timedelta(seconds=PAUSES[claimed.attempt - 1])
    return bool(held.update(available_at=now + pause, **told))


def switch_off_gone(claimed: Claimed) -> None:
    """The receiver answered 410 Gone: it does not want to hear from us again."""
    endpoint = WebhookEndpoint.objects.filter(deliveries=claimed.id, is_enabled=True).first()
    if endpoint is not None:
        with transaction.atomic():
            WebhookEndpoint.objects.filter(pk=endpoint.pk).update(is_enabled=False)
            _give_up_waiting(endpoint, _("The receiver said that the address is gone (410)."))
            record(actor=None, project=endpoint.project, act="webhook.gone", subject=f"webhook {endpoint.pk}")


def _give_up_waiting(endpoint: WebhookEndpoint, problem: str) -> None:
    endpoint.deliveries.filter(delivered_at=None, given_up_at=None).update(given_up_at=database_now(), problem=problem)


def forget_old_deliveries() -> int:
    """Delete messages that were over a month ago; returns how many."""
    before = database_now() - timedelta(days=KEPT_DAYS)
    ended = Delivery.objects.filter(created_at__lt=before).exclude(delivered_at=None, given_up_at=None)
    return int(ended.delete()[0])


def reencrypt_secrets() -> int:
    """Encrypt every webhook's secret under the newest SECRET_KEY; returns how many. Raises UserError at an unreadable one."""
    with transaction.atomic():
        rows = list(WebhookEndpoint.objects.select_for_update())
        for row in rows:
            WebhookEndpoint.objects.filter(pk=row.pk).update(secret=secrets.rotated(row.secret))
    return len(rows)
