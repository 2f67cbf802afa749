"""The project's page about notifications: one's own letters for everybody, webhooks for owners."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from finetune_engine.errors import UserError
from web_kit.pagination import paginate
from work_kit.models import WebhookEndpoint
from work_kit.notifications import operations, queries
from work_kit.notifications.forms import MailForm, WebhookForm

DELIVERIES_ON_A_PAGE = 25


def _page(request: HttpRequest, actor: Actor, *, status: int = 200, **more: Any) -> HttpResponse:
    assert actor.user is not None  # pages are opened by people
    is_owner = actor.may(Act.OWN)
    context: dict[str, Any] = {
        "actor": actor,
        "is_owner": is_owner,
        "mail_is_sent": queries.mail_is_sent(),
        "mail_form": MailForm(initial={"about": queries.mail_wish(actor.user, actor.project)}),
        "webhook_form": WebhookForm(),
        "endpoints": queries.endpoint_cards(queries.endpoints_of(actor.project)) if is_owner else [],
    }
    return render(request, "work_kit/notifications.html", context | more, status=status)


@project_page({"GET": Act.VIEW})
def page(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Letters and webhooks."""
    return _page(request, actor)


@project_page({"POST": Act.VIEW})
def mail(request: HttpRequest, actor: Actor) -> HttpResponse:
    """One's own wish for letters."""
    form = MailForm(request.POST)
    if not form.is_valid():
        return _page(request, actor, mail_form=form, status=422)
    operations.set_mail_wish(actor=actor, about=form.cleaned_data["about"])
    messages.success(request, _("Your wish is kept."))
    return redirect("notifications:page", actor.project.slug)


@project_page({"POST": Act.OWN})
def add(request: HttpRequest, actor: Actor) -> HttpResponse:
    """A new webhook; its secret is shown once."""
    form = WebhookForm(request.POST)
    if form.is_valid():
        try:
            endpoint, secret = operations.add_endpoint(actor=actor, **form.cleaned_data)
        except UserError as error:
            form.add_user_error(error)
        else:
            return _page(request, actor, secret=secret, secret_of=endpoint)
    return _page(request, actor, webhook_form=form, status=422)


@project_page({"GET": Act.OWN})
def webhook(request: HttpRequest, actor: Actor, webhook_id: str) -> HttpResponse:
    """One webhook and what was sent to it."""
    return _webhook(request, actor, fetch(actor, WebhookEndpoint, pk=webhook_id))


def _webhook(request: HttpRequest, actor: Actor, endpoint: WebhookEndpoint, secret: str = "") -> HttpResponse:
    rows = paginate(
        queries.deliveries_of(endpoint), order=("-id",), limit=DELIVERIES_ON_A_PAGE, cursor=request.GET.get("cursor")
    )
    context = {
        "actor": actor,
        "endpoint": queries.endpoint_card(endpoint),
        "secret": secret,
        "page": rows,
        "deliveries": [queries.delivery_card(row) for row in rows],
    }
    return render(request, "work_kit/notifications_webhook.html", context)


@project_page({"POST": Act.OWN})
def switch(request: HttpRequest, actor: Actor, webhook_id: str) -> HttpResponse:
    """On or off."""
    endpoint = fetch(actor, WebhookEndpoint, pk=webhook_id)
    endpoint = operations.change_endpoint(actor=actor, endpoint=endpoint, is_enabled=request.POST.get("to") == "on")
    messages.success(request, _("The webhook is on.") if endpoint.is_enabled else _("The webhook is off."))
    return redirect("notifications:webhook", actor.project.slug, endpoint.pk)


@project_page({"POST": Act.OWN})
def rotate(request: HttpRequest, actor: Actor, webhook_id: str) -> HttpResponse:
    """A new secret, shown once."""
    endpoint = fetch(actor, WebhookEndpoint, pk=webhook_id)
    return _webhook(request, actor, endpoint, operations.rotate_secret(actor=actor, endpoint=endpoint))


@project_page({"POST": Act.OWN})
def delete(request: HttpRequest, actor: Actor, webhook_id: str) -> HttpResponse:
    """Gone, with the record of its messages."""
    operations.delete_endpoint(actor=actor, endpoint=fetch(actor, WebhookEndpoint, pk=webhook_id))
    messages.success(request, _("The webhook is deleted."))
    return redirect("notifications:page", actor.project.slug)


@project_page({"POST": Act.OWN})
def test(request: HttpRequest, actor: Actor, webhook_id: str) -> HttpResponse:
    """A message about a job that does not exist."""
    endpoint = fetch(actor, WebhookEndpoint, pk=webhook_id)
    operations.send_test(actor=actor, endpoint=endpoint)
    messages.success(request, _("The test is on its way. Look again in a few seconds to see whether it was taken."))
    return redirect("notifications:webhook", actor.project.slug, endpoint.pk)


@project_page({"POST": Act.OWN})
def repeat(request: HttpRequest, actor: Actor, webhook_id: str, delivery_id: str) -> HttpResponse:
    """Send a message again."""
    endpoint = fetch(actor, WebhookEndpoint, pk=webhook_id)
    delivery = get_object_or_404(queries.deliveries_of(endpoint), pk=delivery_id)
    operations.repeat_delivery(actor=actor, delivery=delivery)
    messages.success(request, _("The message is sent again."))
    return redirect("notifications:webhook", actor.project.slug, endpoint.pk)
