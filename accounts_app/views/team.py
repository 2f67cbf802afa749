"""Who is in a project, which keys it has handed out, and what was done."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts_app import operations, queries
from accounts_app.choices import Act, Role
from accounts_app.forms import InviteForm, KeyForm, RoleForm
from accounts_app.models import ApiKey, Invitation, Membership
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from finetune_engine.errors import UserError


def _page(request: HttpRequest, actor: Actor, *, status: int = 200, **more: Any) -> HttpResponse:
    context: dict[str, Any] = {
        "actor": actor,
        "members": queries.members_of(actor.project),
        "invitations": queries.open_invitations(actor.project) if actor.may(Act.OWN) else [],
        "keys": queries.keys_of(actor.project) if actor.may(Act.OWN) else [],
        "audit": queries.recent_audit(actor.project) if actor.may(Act.OWN) else [],
        "is_owner": actor.may(Act.OWN),
        "roles": Role.choices,
        "invite_form": InviteForm(),
        "key_form": KeyForm(),
    }
    return render(request, "accounts_app/team.html", context | more, status=status)


@project_page({"GET": Act.VIEW})
def team(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Members, invitations, keys and the newest audit entries."""
    return _page(request, actor)


@project_page({"POST": Act.OWN})
def invite(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Make an invitation; its link is shown once."""
    form = InviteForm(request.POST)
    if form.is_valid():
        try:
            invitation, token = operations.invite(project=actor.project, actor=actor, **form.cleaned_data)
        except UserError as error:
            form.add_user_error(error)
        else:
            url = request.build_absolute_uri(reverse("accounts:join", args=[token]))
            return _page(request, actor, invitation_url=url, invited=invitation)
    return _page(request, actor, invite_form=form, status=422)


@project_page({"POST": Act.OWN})
def revoke_invitation(request: HttpRequest, actor: Actor, invitation_id: str) -> HttpResponse:
    """The link stops working."""
    operations.revoke_invitation(actor=actor, invitation=fetch(actor, Invitation, pk=invitation_id))
    messages.success(request, _("The invitation is withdrawn."))
    return redirect("team:team", actor.project.slug)


@project_page({"POST": Act.OWN})
def create_key(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Make a key; its text is shown once."""
    form = KeyForm(request.POST)
    if form.is_valid():
        try:
            key, text = operations.create_api_key(project=actor.project, actor=actor, **form.cleaned_data)
        except UserError as error:
            form.add_user_error(error)
        else:
            return _page(request, actor, new_key=text, made=key)
    return _page(request, actor, key_form=form, status=422)


@project_page({"POST": Act.OWN})
def revoke_key(request: HttpRequest, actor: Actor, key_id: str) -> HttpResponse:
    """The key stops working."""
    operations.revoke_api_key(actor=actor, key=fetch(actor, ApiKey, pk=key_id))
    messages.success(request, _("The key no longer works."))
    return redirect("team:team", actor.project.slug)


@project_page({"POST": Act.OWN})
def change_role(request: HttpRequest, actor: Actor, membership_id: int) -> HttpResponse:
    """Another role for a member."""
    form = RoleForm(request.POST)
    membership = fetch(actor, Membership, pk=membership_id)
    if form.is_valid():
        operations.change_role(actor=actor, membership=membership, role=form.cleaned_data["role"])
        messages.success(request, _("The role is changed."))
    return redirect("team:team", actor.project.slug)


@project_page({"POST": Act.OWN})
def remove_member(request: HttpRequest, actor: Actor, membership_id: int) -> HttpResponse:
    """Take somebody out of the project."""
    operations.remove_member(actor=actor, membership=fetch(actor, Membership, pk=membership_id))
    messages.success(request, _("They are no longer in this project."))
    return redirect("team:team", actor.project.slug)
