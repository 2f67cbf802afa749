"""The JSON twin of the page "Providers and budget". Keys go in and never come out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status
from pydantic import BaseModel, ConfigDict, Field

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from jobs_app.models import ProviderConnection
from jobs_app.operations import budgets, connections
from jobs_app.queries import connections as queries
from jobs_app.queries.providers import connections_of

router = Router(tags=["providers"])


class ConnectionIn(BaseModel):
    """A key for an address."""

    model_config = ConfigDict(extra="forbid")

    base_url: str = Field(description="The provider's address, up to and with /v1.")
    key: str = Field(description="Stored encrypted; never answered.")
    name: str = ""


class ConnectionChange(BaseModel):
    """What shall be different. Another address needs its key."""

    model_config = ConfigDict(extra="forbid")

    base_url: str | None = None
    key: str = ""
    name: str | None = None


class BudgetIn(BaseModel):
    """What may be spent at providers in a calendar month."""

    model_config = ConfigDict(extra="forbid")

    monthly_limit: Decimal | None = Field(None, description="null is no limit.")
    ask_above: Decimal = Field(Decimal(0), description="Cheaper trainings start without cost_approved.")
    currency: str = "USD"


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return actor


@router.get("/connections", auth=key_auth(Act.OWN), summary="This project's keys at providers")
def list_connections(request: HttpRequest) -> dict[str, Any]:
    """Each with the last four signs of its key and what the last check found."""
    return {"data": [connection_json(row) for row in connections_of(_actor(request).project)], "next_cursor": None}


@router.post("/connections", auth=key_auth(Act.OWN), response={201: dict[str, Any]}, summary="Add a key")
def add_connection(request: HttpRequest, body: ConnectionIn) -> Status[dict[str, Any]]:
    """One key for each address."""
    added = connections.add_connection(actor=_actor(request), name=body.name, base_url=body.base_url, key=body.key)
    return Status(201, connection_json(added))


@router.patch("/connections/{connection_id}", auth=key_auth(Act.OWN), summary="Change a name, an address or a key")
def change_connection(request: HttpRequest, connection_id: str, body: ConnectionChange) -> dict[str, Any]:
    """A new address without a key is refused."""
    actor = _actor(request)
    row = fetch(actor, ProviderConnection, pk=connection_id)
    name = row.name if body.name is None else body.name
    address = row.base_url if body.base_url is None else body.base_url
    return connection_json(
        connections.change_connection(actor=actor, connection=row, name=name, base_url=address, key=body.key)
    )


@router.post("/connections/{connection_id}/check", auth=key_auth(Act.OWN), summary="Does the provider take the key?")
def check_connection(request: HttpRequest, connection_id: str) -> dict[str, Any]:
    """``problem`` is empty when all is well."""
    actor = _actor(request)
    row = fetch(actor, ProviderConnection, pk=connection_id)
    return connection_json(connections.check_connection(actor=actor, connection=row))


@router.delete("/connections/{connection_id}", auth=key_auth(Act.OWN), response={204: None}, summary="Forget a key")
def delete_connection(request: HttpRequest, connection_id: str) -> Status[None]:
    """Refused while a training uses it."""
    actor = _actor(request)
    connections.delete_connection(actor=actor, connection=fetch(actor, ProviderConnection, pk=connection_id))
    return Status(204, None)


@router.get("/budget", auth=key_auth(Act.OWN), summary="What may be spent, and what was")
def get_budget(request: HttpRequest) -> dict[str, Any]:
    """This calendar month, in UTC; amounts as text."""
    return budget_json(_actor(request))


@router.put("/budget", auth=key_auth(Act.OWN), summary="Set the budget")
def set_budget(request: HttpRequest, body: BudgetIn) -> dict[str, Any]:
    """Replaces the whole budget."""
    actor = _actor(request)
    budgets.set_budget(actor=actor, monthly_limit=body.monthly_limit, ask_above=body.ask_above, currency=body.currency)
    return budget_json(actor)


def connection_json(row: ProviderConnection) -> dict[str, Any]:
    """A connection without its key."""
    return {
        "id": row.pk,
        "name": row.name,
        "base_url": row.base_url,
        "last_four": row.last_four,
        "checked_at": row.checked_at,
        "problem": row.problem or None,
        "created_at": row.created_at,
    }


def budget_json(actor: Actor) -> dict[str, Any]:
    """The budget, and this month's spending."""
    budget = queries.budget_of(actor.project)
    month = queries.spending(actor.project, budget)
    return {
        "currency": budget.currency,
        "monthly_limit": _text(budget.monthly_limit),
        "ask_above": _text(Decimal(budget.ask_above)),
        "spent": _text(month.spent),
        "expected": _text(month.expected),
        "left": _text(month.left),
        "jobs": [
            {
                "id": card.id,
                "name": card.name,
                "status": card.state,
                "amount": _text(card.amount),
                "currency": card.currency or None,
                "is_expected": card.is_expected,
                "reason": card.reason or None,
            }
            for card in queries.remote_job_cards(actor.project)
        ],
    }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)
