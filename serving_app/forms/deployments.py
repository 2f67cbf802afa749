"""Forms of the page Use."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from serving_app.choices import DeploymentRole
from serving_app.models import Deployment
from serving_app.operations.checking import SETTINGS
from web_kit.forms import StyledForm


class SettingsForm(StyledForm):
    """How a deployment answers. Ranges are checked by the operation."""

    default_temperature = forms.FloatField(
        label=_("Temperature, when a call names none"),
        required=False,
        min_value=0,
        max_value=2,
        help_text=_("0 gives the same answer to the same question each time. Empty: 0.7 for the simple call, else 1."),
    )
    uses_exact_cache = forms.BooleanField(
        label=_("Answer the same question from memory"),
        required=False,
        help_text=_("Only at temperature 0, where the answer would be the same anyway."),
    )
    uses_semantic_cache = forms.BooleanField(
        label=_("Answer questions that mean the same from memory"),
        required=False,
        help_text=_("Faster, and sometimes wrong. Look at its page before you switch it on."),
    )
    semantic_threshold = forms.FloatField(
        label=_("How alike such questions must be"),
        required=False,
        min_value=0.5,
        max_value=1,
        help_text=_("From 0.5 to 1. Empty: the default of the caches."),
    )
    ask_human_below = forms.FloatField(
        label=_("Ask a person below this confidence"),
        required=False,
        min_value=0,
        max_value=1,
        help_text=_("From 0 to 1. Empty: never."),
    )

    @classmethod
    def of(cls, deployment: Deployment) -> SettingsForm:
        """Filled with what holds now."""
        return cls(initial={name: getattr(deployment, name) for name in SETTINGS})

    @property
    def changes(self) -> dict[str, Any]:
        """For ``change_settings``; call after ``is_valid``."""
        return {name: value for name, value in self.cleaned_data.items() if name in SETTINGS}


class TrialForm(StyledForm):
    """A model to try, and how."""

    role = forms.ChoiceField(
        label=_("How"),
        choices=[
            (DeploymentRole.SHADOW.value, _("It listens along: answers copies of the questions, nobody sees them")),
            (DeploymentRole.SPLIT.value, _("It answers a share of the questions (needs a sign-off)")),
        ],
        initial=DeploymentRole.SHADOW.value,
        widget=forms.RadioSelect,
    )
    percent = forms.IntegerField(label=_("Share of the questions, in percent"), min_value=1, max_value=100, initial=100)
