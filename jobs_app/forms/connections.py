"""The forms of the page "Providers and budget"."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from jobs_app.queries.providers import OPENAI_URL
from web_kit.forms import StyledForm

_KEY_WIDGET = forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"})


class ConnectionForm(StyledForm):
    """A new key at a provider."""

    name = forms.CharField(label=_("Name"), max_length=120, required=False, help_text=_("Empty takes the host's name."))
    base_url = forms.CharField(
        label=_("Address"),
        max_length=300,
        initial=OPENAI_URL,
        help_text=_("OpenAI's, or that of a service that speaks the same protocol, up to and with /v1."),
        widget=forms.URLInput(attrs={"autocomplete": "off"}),
    )
    key = forms.CharField(
        label=_("Key"),
        max_length=500,
        help_text=_("Stored encrypted. Afterwards only its last four signs are shown."),
        widget=_KEY_WIDGET,
    )


class ChangeConnectionForm(ConnectionForm):
    """Another name, address or key."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["key"].required = False
        self.fields["key"].help_text = _("Empty keeps the stored key. A new address needs its key.")


class BudgetForm(StyledForm):
    """What the project may spend at providers."""

    monthly_limit = forms.DecimalField(
        label=_("Limit for a month"),
        required=False,
        min_value=0,
        max_digits=12,
        decimal_places=2,
        help_text=_("No training starts that would exceed it. Empty is no limit."),
    )
    ask_above = forms.DecimalField(
        label=_("Ask before a training that costs more than"),
        min_value=0,
        max_digits=12,
        decimal_places=2,
        help_text=_("Cheaper ones start without a question. 0 always asks."),
    )
    currency = forms.CharField(
        label=_("Currency"), min_length=3, max_length=3, help_text=_("Three letters, such as USD.")
    )
