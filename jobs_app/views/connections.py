"""Providers and budget: a project's keys, what it may spend, and what it has spent."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from finetune_engine.errors import UserError
from jobs_app.forms.connections import BudgetForm, ChangeConnectionForm, ConnectionForm
from jobs_app.models import ProviderConnection
from jobs_app.operations import budgets, connections
from jobs_app.queries import connections as queries
from jobs_app.queries.providers import connections_of, operators_key


def _page(request: HttpRequest, actor: Actor, *, status: int = 200, **more: Any) -> HttpResponse:
    budget = queries.budget_of(actor.project)
    values = {"monthly_limit": budget.monthly_limit, "ask_above": budget.ask_above, "currency": budget.currency}
    context: dict[str, Any] = {
        "project": actor.project,
        "connections": connections_of(actor.project),
        "has_operators_key": bool(operators_key()),
        "budget": budget,
        "month": queries.spending(actor.project, budget),
        "jobs": queries.remote_job_cards(actor.project),
        "connection_form": ConnectionForm(),
        "budget_form": BudgetForm(initial=values),
    }
    return render(request, "jobs_app/connections.html", context | more, status=status)


@project_page({"GET": Act.OWN, "POST": Act.OWN})
def listing(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Keys, budget and spending; a POST adds a key."""
    if request.method != "POST":
        return _page(request, actor)
    form = ConnectionForm(request.POST)
    if form.is_valid():
        try:
            connection = connections.add_connection(actor=actor, **form.cleaned_data)
        except UserError as error:
            form.add_user_error(error)
        else:
            return _checked(request, actor, connection)
    return _page(request, actor, connection_form=form, status=422)


@project_page({"GET": Act.OWN, "POST": Act.OWN})
def change(request: HttpRequest, actor: Actor, connection_id: str) -> HttpResponse:
    """Another name, address or key."""
    connection = fetch(actor, ProviderConnection, pk=connection_id)
    initial = {"name": connection.name, "base_url": connection.base_url}
    form = ChangeConnectionForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            connections.change_connection(actor=actor, connection=connection, **form.cleaned_data)
        except UserError as error:
            form.add_user_error(error)
        else:
            messages.success(request, _("The connection is changed."))
            return redirect("jobs:connections", actor.project.slug)
    context = {"project": actor.project, "connection": fetch(actor, ProviderConnection, pk=connection_id), "form": form}
    return render(request, "jobs_app/connection.html", context, status=422 if form.errors else 200)


@project_page({"POST": Act.OWN})
def check(request: HttpRequest, actor: Actor, connection_id: str) -> HttpResponse:
    """Ask the provider whether it takes the key."""
    return _checked(request, actor, fetch(actor, ProviderConnection, pk=connection_id))


def _checked(request: HttpRequest, actor: Actor, connection: ProviderConnection) -> HttpResponse:
    connection = connections.check_connection(actor=actor, connection=connection)
    if connection.problem:
        messages.warning(request, _("%(name)s: %(problem)s") % {"name": connection.name, "problem": connection.problem})
    else:
        messages.success(request, _("%(name)s answers and takes the key.") % {"name": connection.name})
    return redirect("jobs:connections", actor.project.slug)


@project_page({"POST": Act.OWN})
def delete(request: HttpRequest, actor: Actor, connection_id: str) -> HttpResponse:
    """Forget a key."""
    connections.delete_connection(actor=actor, connection=fetch(actor, ProviderConnection, pk=connection_id))
    messages.success(request, _("The key is forgotten."))
    return redirect("jobs:connections", actor.project.slug)


@project_page({"POST": Act.OWN})
def budget(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Set what may be spent."""
    form = BudgetForm(request.POST)
    if form.is_valid():
        try:
            budgets.set_budget(actor=actor, **form.cleaned_data)
        except UserError as error:
            form.add_user_error(error)
        else:
            messages.success(request, _("The budget is set."))
            return redirect("jobs:connections", actor.project.slug)
    return _page(request, actor, budget_form=form, status=422)
