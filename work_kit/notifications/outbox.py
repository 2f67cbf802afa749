"""The outbox: what is written when a job ends or an app has news, taken by a postman, and marked when it was taken or refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from accounts_app.models import Membership, Project, User
from accounts_app.operations import record
from finetune_engine.errors import UserError
from web_kit import secrets
from work_kit.choices import TERMINAL, MailAbout, State
from work_kit.models import Delivery, Job, MailWish, WebhookEndpoint
from work_kit.notifications import messages, queries
from work_kit.notifications.messages import News
from work_kit.queries import database_now

MAIL_EVENT = "mail"
TEST_OBJECT = "ftjob-test"
SENDING_SECONDS = 90  # how long one sending may take; afterwards the message is anybody's again
PAUSES = (5, 300, 1_800, 7_200, 18_000, 36_000)  # seconds after the first, second ... failure; then given up
KEPT_DAYS = 30


def tell(job: Job) -> None:
    """Write down whom to tell that ``job`` has ended. Called inside the transaction that ends it."""
    if job.state not in TERMINAL:
        return
    rows = [*_to_programs(job), *_to_people(job)]
    if rows:
        Delivery.objects.bulk_create(rows)


def tell_project(project: Project, news: News) -> None:
    """Write down whom to tell something that is not a job's end: the webhooks that want its event, and the owners who have
    not wished for no letters at all. Called inside the transaction that makes it true."""
    now = database_now()
    body = messages.sample_body(news.event, news.object_id, now)
    body["data"] |= news.data
    wanting = [
        row for row in WebhookEndpoint.objects.filter(project=project, is_enabled=True) if news.event in row.events
    ]
    rows = [Delivery(endpoint=row, event=news.event, payload=body, available_at=now, created_at=now) for row in wanting]
    for person in queries.owners_to_tell(project) if queries.mail_is_sent() else ():
        text = messages.news_letter(project, person, news) | {"project": project.pk}
        rows.append(Delivery(recipient=person, event=MAIL_EVENT, payload=text, available_at=now, created_at=now))
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
        return _claimed_letter(row, attempt)
    try:
        secret = secrets.decrypt(row.endpoint.secret)
    except UserError as unreadable:
        record_outcome(Claimed(row.pk, attempt), Outcome(problem=unreadable.sentence, is_final=True))
        return None
    body = json.dumps(row.payload, separators=(",", ":"), ensure_ascii=False).encode()
    return Claimed(row.pk, attempt, url=row.endpoint.url, secret=secret, body=body)


def _claimed_letter(row: Delivery, attempt: int) -> Claimed | None:
    """Somebody who has left the project since the letter was written does not get it."""
    assert row.recipient is not None  # the table's constraint
    claimed = Claimed(row.pk, attempt, address=row.recipient.email, letter=row.payload)
    of = {"project": row.payload["project"]} if "project" in row.payload else {"project__work": row.job_id}
    is_member = Membership.objects.filter(user=row.recipient, user__is_active=True, **of).exists()
    if is_member:
        return claimed
    record_outcome(claimed, Outcome(problem=_("This person is no longer in the project."), is_final=True))
    return None


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
            give_up_waiting(endpoint, _("The receiver said that the address is gone (410)."))
            record(actor=None, project=endpoint.project, act="webhook.gone", subject=f"webhook {endpoint.pk}")


def give_up_waiting(endpoint: WebhookEndpoint, problem: str) -> None:
    """Nothing more is sent of what waits for this webhook."""
    endpoint.deliveries.filter(delivered_at=None, given_up_at=None).update(given_up_at=database_now(), problem=problem)


def forget_old_deliveries() -> int:
    """Delete messages that were over a month ago; returns how many."""
    before = database_now() - timedelta(days=KEPT_DAYS)
    ended = Delivery.objects.filter(created_at__lt=before).exclude(delivered_at=None, given_up_at=None)
    return int(ended.delete()[0])
