"""Forms about people."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.utils.translation import gettext_lazy as _

from accounts_app.choices import Role, Scope
from web_kit.forms import StyledForm


class SignInForm(StyledForm, AuthenticationForm):
    """E-mail address and password."""

    error_messages = {  # noqa: RUF012  Django's own shape
        "invalid_login": _(
            "This address and password do not fit together. Check both, or ask an owner for a new link."
        ),
        "inactive": _("This account is closed."),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = _("E-mail address")
        self.fields["username"].widget.attrs |= {"autocomplete": "username", "type": "email", "autofocus": True}


class JoinForm(StyledForm):
    """Who accepts an invitation without having an account."""

    email = forms.EmailField(label=_("E-mail address"), widget=forms.EmailInput(attrs={"autocomplete": "username"}))
    name = forms.CharField(label=_("Your name"), max_length=120, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    password = forms.CharField(
        label=_("Password"),
        help_text=_("At least ten characters. A few words in a row are easy to remember and hard to guess."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class ProjectForm(StyledForm):
    """A new project."""

    name = forms.CharField(
        label=_("Name"), max_length=120, help_text=_("For example: Contract clauses, Claims triage, Discharge letters.")
    )
    description = forms.CharField(
        label=_("What shall the model do?"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("One or two sentences for your colleagues. You can leave it empty."),
    )


class InviteForm(StyledForm):
    """Invite somebody by address and role."""

    email = forms.EmailField(label=_("E-mail address"))
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices, initial=Role.REVIEWER)


class RoleForm(StyledForm):
    """Another role for a member."""

    role = forms.ChoiceField(label=_("Role"), choices=Role.choices)


class KeyForm(StyledForm):
    """A new API key."""

    name = forms.CharField(label=_("What is it for?"), max_length=80)
    scopes = forms.MultipleChoiceField(
        label=_("What may it do?"),
        choices=Scope.choices,
        initial=[Scope.READ, Scope.PREDICT],
        widget=forms.CheckboxSelectMultiple,
    )
    expires_in_days = forms.IntegerField(
        label=_("Days until it ends"),
        required=False,
        min_value=1,
        max_value=3650,
        help_text=_("Empty: it does not end."),
    )


class PasswordForm(StyledForm):
    """A new password for oneself."""

    current = forms.CharField(
        label=_("Password now"), widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )
    password = forms.CharField(
        label=_("New password"), widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )
