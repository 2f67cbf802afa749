"""The JSON twin of the webhook pages. All of it needs a key with the scope ``admin``."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest
from ninja import Router, Status
from pydantic import BaseModel, ConfigDict, Field

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from web_kit.pagination import paginate
from work_kit.models import WebhookEndpoint
from work_kit.notifications import operations, queries
from work_kit.notifications.queries import DeliveryCard, EndpointCard, delivery_card, endpoint_card, endpoint_cards

router = Router(tags=["webhooks"])


class WebhookIn(BaseModel):
    """A new webhook. ``events`` left out means all of them."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=500)
    events: list[str] | None = None


class WebhookChange(BaseModel):
    """What shall change; the rest stays."""

    model_config = ConfigDict(extra="forbid")

    is_enabled: bool | None = None
    events: list[str] | None = None


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return actor


def _endpoint(request: HttpRequest, webhook_id: str) -> WebhookEndpoint:
    return fetch(_actor(request), WebhookEndpoint, pk=webhook_id)


@router.get("/webhooks", auth=key_auth(Act.OWN), summary="Webhooks of the project")
def list_webhooks(request: HttpRequest) -> dict[str, Any]:
    """Never with their secrets."""
    rows = [_endpoint_json(card) for card in endpoint_cards(queries.endpoints_of(_actor(request).project))]
    return {"data": rows, "next_cursor": None}


@router.post("/webhooks", auth=key_auth(Act.OWN), response={201: dict[str, Any]}, summary="Add a webhook")
def add_webhook(request: HttpRequest, payload: WebhookIn) -> Status[dict[str, Any]]:
    """The answer holds the ``secret`` that signs its messages, for the only time."""
    endpoint, secret = operations.add_endpoint(actor=_actor(request), url=payload.url, events=payload.events)
    return Status(201, _endpoint_json(endpoint_card(endpoint)) | {"secret": secret})


@router.get("/webhooks/{webhook_id}", auth=key_auth(Act.OWN), summary="One webhook")
def get_webhook(request: HttpRequest, webhook_id: str) -> dict[str, Any]:
    """``is_failing`` is true while its newest finished message was given up."""
    return _endpoint_json(endpoint_card(_endpoint(request, webhook_id)))


@router.patch("/webhooks/{webhook_id}", auth=key_auth(Act.OWN), summary="Switch a webhook on or off, choose events")
def change_webhook(request: HttpRequest, webhook_id: str, payload: WebhookChange) -> dict[str, Any]:
    """The address does not change: add another webhook, with a secret of its own."""
    endpoint = operations.change_endpoint(
        actor=_actor(request),
        endpoint=_endpoint(request, webhook_id),
        is_enabled=payload.is_enabled,
        events=payload.events,
    )
    return _endpoint_json(endpoint_card(endpoint))


@router.delete("/webhooks/{webhook_id}", auth=key_auth(Act.OWN), response={204: None}, summary="Delete a webhook")
def delete_webhook(request: HttpRequest, webhook_id: str) -> Status[None]:
    """With the record of what was sent to it."""
    operations.delete_endpoint(actor=_actor(request), endpoint=_endpoint(request, webhook_id))
    return Status(204, None)


@router.post("/webhooks/{webhook_id}/rotate-secret", auth=key_auth(Act.OWN), summary="Make a new secret")
def rotate_webhook_secret(request: HttpRequest, webhook_id: str) -> dict[str, Any]:
    """The old secret signs nothing from this moment on."""
    endpoint = _endpoint(request, webhook_id)
    secret = operations.rotate_secret(actor=_actor(request), endpoint=endpoint)
    return _endpoint_json(endpoint_card(endpoint)) | {"secret": secret}


@router.post(
    "/webhooks/{webhook_id}/test", auth=key_auth(Act.OWN), response={202: dict[str, Any]}, summary="Send a test"
)
def test_webhook(request: HttpRequest, webhook_id: str) -> Status[dict[str, Any]]:
    """A message about the job ``ftjob-test``, which does not exist. It is tried once."""
    delivery = operations.send_test(actor=_actor(request), endpoint=_endpoint(request, webhook_id))
    return Status(202, _delivery_json(delivery_card(delivery)))


@router.get("/webhooks/{webhook_id}/deliveries", auth=key_auth(Act.OWN), summary="What was sent, the newest first")
def list_deliveries(request: HttpRequest, webhook_id: str, cursor: str = "", limit: int = 50) -> dict[str, Any]:
    """Pass ``next_cursor`` as ``cursor`` to read on."""
    rows = queries.deliveries_of(_endpoint(request, webhook_id))
    found = paginate(rows, order=("-id",), limit=limit, cursor=cursor or None)
    return {"data": [_delivery_json(delivery_card(row)) for row in found], "next_cursor": found.next_cursor}


@router.post(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/repeat", auth=key_auth(Act.OWN), summary="Send a message again"
)
def repeat_delivery(request: HttpRequest, webhook_id: str, delivery_id: str) -> dict[str, Any]:
    """Under the same ``webhook-id``, so that a receiver can tell that it has seen it."""
    delivery = queries.deliveries_of(_endpoint(request, webhook_id)).filter(pk=delivery_id).first()
    if delivery is None:
        raise Http404("no such delivery")
    return _delivery_json(delivery_card(operations.repeat_delivery(actor=_actor(request), delivery=delivery)))


def _endpoint_json(card: EndpointCard) -> dict[str, Any]:
    return {
        "id": card.id,
        "url": card.url,
        "events": list(card.events),
        "is_enabled": card.is_enabled,
        "is_failing": card.is_failing,
        "created_at": card.created_at.isoformat(),
    }


def _delivery_json(card: DeliveryCard) -> dict[str, Any]:
    return {
        "id": card.id,
        "event": card.event,
        "about": card.about,
        "status": card.state,
        "attempts": card.attempts,
        "response_status": card.response_status,
        "problem": card.problem,
        "created_at": card.created_at.isoformat(),
        "delivered_at": card.delivered_at.isoformat() if card.delivered_at else None,
        "next_attempt_at": card.next_at.isoformat() if card.next_at else None,
    }
