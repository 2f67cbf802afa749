"""Signing in and out, and joining by a one-time link."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import login, update_session_auth_hash
from django.contrib.auth.views import LoginView, LogoutView
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters

from accounts_app import operations
from accounts_app.forms import JoinForm, PasswordForm, SignInForm
from accounts_app.models import Invitation
from accounts_app.permissions import hash_of_key
from accounts_app.views.access import public_page, signed_in_page
from finetune_engine.errors import UserError

BACKEND = "django.contrib.auth.backends.ModelBackend"

sign_in = public_page(
    LoginView.as_view(
        template_name="accounts_app/sign_in.html", authentication_form=SignInForm, redirect_authenticated_user=True
    )
)
sign_out = public_page(LogoutView.as_view())


@public_page
@sensitive_post_parameters("password")
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Accept an invitation: with one click when signed in, else by making an account."""
    invitation = (
        Invitation.objects.select_related("project")
        .filter(token_sha256=hash_of_key(token), accepted_at=None, revoked_at=None, expires_at__gt=timezone.now())
        .first()
    )
    if invitation is None:
        return render(request, "accounts_app/link_spent.html", status=410)
    user = request.user if request.user.is_authenticated else None
    initial = {"email": invitation.email}
    form = JoinForm(request.POST or None, initial=initial)
    if invitation.email:
        form.fields["email"].disabled = True
    if request.method == "POST" and (user is not None or form.is_valid()):
        try:
            values = {} if user else form.cleaned_data
            person = operations.accept_invitation(invitation=invitation, user=user, **values)  # type: ignore[arg-type]
        except UserError as error:
            form.add_user_error(error)
        else:
            if user is None:
                login(request, person, backend=BACKEND)
            if invitation.project is not None:
                return redirect("project_home", invitation.project.slug)
            return redirect("home")
    status = 422 if request.method == "POST" else 200
    return render(request, "accounts_app/join.html", {"form": form, "invitation": invitation}, status=status)


@signed_in_page
@sensitive_post_parameters("current", "password")
def account(request: HttpRequest) -> HttpResponse:
    """One's own account: change the password; all other sessions end."""
    form = PasswordForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            operations.change_password(user=request.user, **form.cleaned_data)  # type: ignore[arg-type]
        except UserError as error:
            form.add_user_error(error)
        else:
            update_session_auth_hash(request, request.user)  # type: ignore[arg-type]
            messages.success(request, _("Your password is changed. Other browsers are signed out."))
            return redirect("accounts:account")
    status = 422 if request.method == "POST" else 200
    return render(request, "accounts_app/account.html", {"form": form}, status=status)


@public_page
def welcome(request: HttpRequest) -> HttpResponse:
    """Where a site without any account explains how to make the first one."""
    from accounts_app.queries import has_anybody

    if has_anybody():
        raise Http404
    return render(request, "accounts_app/welcome.html")
