"""Forms of the page about notifications."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from web_kit.forms import StyledForm
from work_kit.choices import WEBHOOK_EVENTS, MailAbout

EVENT_WORDS = {
    "fine_tuning.job.succeeded": _("A training is done"),
    "fine_tuning.job.failed": _("A training has failed"),
    "fine_tuning.job.cancelled": _("A training was cancelled"),
    "serving.alert.opened": _("A model in use does worse than you allow"),
    "serving.alert.closed": _("It does well again"),
}


class WebhookForm(StyledForm):
    """A new webhook."""

    url = forms.CharField(
        label=_("Address"),
        max_length=500,
        widget=forms.URLInput(attrs={"placeholder": "https://example.org/tunesmith", "autocomplete": "off"}),
        help_text=_("Where your program listens. Messages are sent there as JSON with POST."),
    )
    events = forms.MultipleChoiceField(
        label=_("Send a message when"),
        choices=[(name, EVENT_WORDS[name]) for name in WEBHOOK_EVENTS],
        initial=list(WEBHOOK_EVENTS),
        widget=forms.CheckboxSelectMultiple,
    )


class MailForm(StyledForm):
    """Which ended jobs one wants letters about."""

    about = forms.ChoiceField(label=_("Send me an e-mail about"), choices=MailAbout.choices)
