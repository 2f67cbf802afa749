"""Rules about a model in use, and their alerts."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from serving_app.alerts import KINDS
from serving_app.models import Alert, AlertRule
from serving_app.operations import alerts as operations
from serving_app.queries.alerts import alert_rules, alerts_of
from web_kit.pagination import paginate

router = Router(tags=["serving"])


class NewAlertRule(Schema):
    """``threshold`` in the kind's unit: shares and confidences 0..1, latency in seconds, the others numbers."""

    kind: str
    threshold: float
    window_minutes: int | None = None


class AlertRuleChange(Schema):
    """What shall change; the rest stays."""

    threshold: float | None = None
    window_minutes: int | None = None
    is_enabled: bool | None = None


def _rule_body(rule: AlertRule) -> dict[str, Any]:
    return {
        "id": rule.pk,
        "kind": rule.kind,
        "unit": KINDS[rule.kind].unit,
        "threshold": rule.threshold,
        "window_minutes": rule.window_minutes,
        "is_enabled": rule.is_enabled,
        "created_at": rule.created_at,
    }


def _alert_body(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.pk,
        "rule": alert.rule_id,
        "kind": alert.rule.kind,
        "value": alert.value,
        "sentence": alert.sentence,
        "opened_at": alert.opened_at,
        "closed_at": alert.closed_at,
    }


@router.get("/alerts", auth=key_auth(Act.VIEW), response=Any, summary="Alerts, open and over")
def alerts(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    page = paginate(alerts_of(actor.project), order=("-id",), limit=limit, cursor=cursor)
    return {"data": [_alert_body(alert) for alert in page], "next_cursor": page.next_cursor}


@router.get("/alert-rules", auth=key_auth(Act.VIEW), response=Any, summary="What is watched")
def rules(request: HttpRequest) -> Any:
    """Oldest first."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return {"data": [_rule_body(rule) for rule in alert_rules(actor.project)], "next_cursor": None}


@router.post("/alert-rules", auth=key_auth(Act.OWN), response={201: Any}, summary="Watch a figure")
def add_rule(request: HttpRequest, payload: NewAlertRule) -> Any:
    """Owners hear of it by e-mail and webhook when the figure passes the threshold, and when it is over."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return Status(201, _rule_body(operations.add_alert_rule(actor=actor, **payload.dict())))


@router.post(
    "/alert-rules/usual", auth=key_auth(Act.OWN), response={201: Any}, summary="Watch what most projects watch"
)
def add_usual(request: HttpRequest) -> Any:
    """Adds a rule of each of the usual kinds that have none yet; the answer holds those added."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    added = operations.add_usual_rules(actor=actor)
    return Status(201, {"data": [_rule_body(rule) for rule in added], "next_cursor": None})


@router.patch("/alert-rules/{rule_id}", auth=key_auth(Act.OWN), response=Any, summary="Change a rule")
def change_rule(request: HttpRequest, rule_id: str, payload: AlertRuleChange) -> Any:
    """Switching it off closes its open alert without a message."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    rule = fetch(actor, AlertRule, pk=rule_id)
    return _rule_body(operations.change_alert_rule(actor=actor, rule=rule, **payload.dict()))


@router.delete("/alert-rules/{rule_id}", auth=key_auth(Act.OWN), response={204: None}, summary="Delete a rule")
def delete_rule(request: HttpRequest, rule_id: str) -> Status[None]:
    """With its alerts."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    operations.delete_alert_rule(actor=actor, rule=fetch(actor, AlertRule, pk=rule_id))
    return Status(204, None)
