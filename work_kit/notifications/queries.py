"""Reads about webhooks, what was sent to them, and who wants letters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils.translation import gettext as _

from accounts_app.choices import Role
from accounts_app.models import Membership, Project, User
from work_kit.choices import MailAbout
from work_kit.models import Delivery, MailWish, WebhookEndpoint


@dataclass(frozen=True)
class EndpointCard:
    """A webhook as a page shows it."""

    id: str
    url: str
    events: tuple[str, ...]
    is_enabled: bool
    is_failing: bool
    label: str
    tone: str
    created_at: datetime
    last_at: datetime | None


@dataclass(frozen=True)
class DeliveryCard:
    """One message to a webhook, and what became of it."""

    id: str
    event: str
    about: str
    state: str
    label: str
    tone: str
    attempts: int
    response_status: int | None
    problem: str
    created_at: datetime
    delivered_at: datetime | None
    next_at: datetime | None

    @property
    def can_repeat(self) -> bool:
        """Whether it is over, one way or the other."""
        return self.state != "waiting"


def endpoints_of(project: Project) -> QuerySet[WebhookEndpoint]:
    """The project's webhooks, oldest first."""
    return WebhookEndpoint.objects.filter(project=project).order_by("id")


def endpoint_cards(endpoints: QuerySet[WebhookEndpoint]) -> list[EndpointCard]:
    """These webhooks and how the newest message of each fared. One query."""
    sent = Delivery.objects.filter(endpoint=OuterRef("pk")).order_by("-id")
    ended = sent.exclude(delivered_at=None, given_up_at=None)
    rows = endpoints.annotate(
        last_at=Subquery(sent.values("created_at")[:1]), last_given_up_at=Subquery(ended.values("given_up_at")[:1])
    )
    return [_endpoint_card(row, row.last_at, row.last_given_up_at is not None) for row in rows]


def endpoint_card(endpoint: WebhookEndpoint) -> EndpointCard:
    """One webhook, as ``endpoint_cards``."""
    return endpoint_cards(WebhookEndpoint.objects.filter(pk=endpoint.pk))[0]


def _endpoint_card(endpoint: WebhookEndpoint, last_at: datetime | None, was_given_up: bool) -> EndpointCard:
    label, tone = (_("On"), "ok") if endpoint.is_enabled else (_("Off"), "idle")
    is_failing = was_given_up and endpoint.is_enabled
    if is_failing:
        label, tone = _("Not taking messages"), "bad"
    return EndpointCard(
        id=endpoint.pk,
        url=endpoint.url,
        events=tuple(endpoint.events),
        is_enabled=endpoint.is_enabled,
        is_failing=is_failing,
        label=label,
        tone=tone,
        created_at=endpoint.created_at,
        last_at=last_at,
    )


def deliveries_of(endpoint: WebhookEndpoint) -> QuerySet[Delivery]:
    """Messages to a webhook, newest first."""
    return endpoint.deliveries.order_by("-id")


def delivery_card(delivery: Delivery) -> DeliveryCard:
    """A message in words."""
    if delivery.delivered_at is not None:
        state, label, tone = "delivered", _("Taken"), "ok"
    elif delivery.given_up_at is not None:
        state, label, tone = "given_up", _("Given up"), "bad"
    else:
        state, label, tone = "waiting", _("Waiting"), "running" if not delivery.attempts else "warn"
    return DeliveryCard(
        id=delivery.pk,
        event=delivery.event,
        about=str(delivery.payload.get("data", {}).get("id", "")),
        state=state,
        label=label,
        tone=tone,
        attempts=delivery.attempts,
        response_status=delivery.response_status,
        problem=delivery.problem,
        created_at=delivery.created_at,
        delivered_at=delivery.delivered_at,
        next_at=delivery.available_at if state == "waiting" else None,
    )


def due_deliveries(now: datetime, most: int) -> list[Delivery]:
    """Messages to be sent now, the longest waiting first, at most one for each receiver: a dead address holds up
    nobody but itself."""
    waiting = Delivery.objects.filter(delivered_at=None, given_up_at=None, available_at__lte=now)
    receivers: set[Any] = set()
    found: list[Delivery] = []
    rows = waiting.filter(Q(endpoint=None) | Q(endpoint__is_enabled=True)).order_by("available_at", "id")
    for row in rows.select_related("endpoint", "recipient").iterator(chunk_size=100):
        receiver = row.endpoint_id or row.recipient_id
        if receiver not in receivers:
            receivers.add(receiver)
            found.append(row)
        if len(found) == most:
            break
    return found


def mail_wish(user: User, project: Project) -> str:
    """What this person wants letters about; failures of their own when they never said."""
    row = MailWish.objects.filter(user=user, project=project).first()
    return str(row.about) if row is not None else str(MailAbout.FAILURES)


def owners_to_tell(project: Project) -> list[User]:
    """Active owners of the project, without those who want no letters of it."""
    silent = MailWish.objects.filter(project=project, about=MailAbout.NOTHING).values("user")
    rows = Membership.objects.filter(project=project, role=Role.OWNER, user__is_active=True).exclude(user__in=silent)
    return [row.user for row in rows.select_related("user").order_by("id")]


def mail_is_sent() -> bool:
    """Whether the operator has set up a mail server."""
    return bool(settings.MAIL_IS_SENT)
