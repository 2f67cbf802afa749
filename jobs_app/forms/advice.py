"""The forms of what comes before a training: whether to train at all, and on which base model."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from finetune_engine.catalogue.advice import CHANGES, LEVELS
from web_kit.forms import StyledForm

LEVEL_WORDS = {"low": _("Low"), "medium": _("Medium"), "high": _("High")}
SPECIFICITY_WORDS = {
    "low": _("General: anybody could answer"),
    "medium": _("Partly special: our own way of doing it"),
    "high": _("Very special: its own words and rules"),
}
PRIVACY_WORDS = {
    "low": _("They may go to a service"),
    "medium": _("Better not, but it is allowed"),
    "high": _("They must not leave our house"),
}
CHANGE_WORDS = {
    "rarely": _("Rarely"),
    "monthly": _("About once a month"),
    "weekly": _("Every week"),
    "daily": _("Every day"),
}


class AdviceForm(StyledForm):
    """The questions of the method's criteria. The fields are those of the engine's ``Situation``."""

    specificity = forms.ChoiceField(
        label=_("How special is the task?"),
        choices=[(key, SPECIFICITY_WORDS[key]) for key in LEVELS],
        widget=forms.RadioSelect,
    )
    examples = forms.IntegerField(
        label=_("How many good examples do you have?"),
        min_value=0,
        max_value=100_000_000,
        help_text=_(
            "A question with the answer that an expert would give. Your data says how many, once it is uploaded."
        ),
    )
    monthly_requests = forms.IntegerField(
        label=_("How many answers a month will be needed?"), min_value=0, max_value=10_000_000_000, required=False
    )
    privacy = forms.ChoiceField(
        label=_("May the texts leave your house?"),
        choices=[(key, PRIVACY_WORDS[key]) for key in LEVELS],
        widget=forms.RadioSelect,
    )
    changes = forms.ChoiceField(
        label=_("How often does what is asked for change?"),
        choices=[(key, CHANGE_WORDS[key]) for key in CHANGES],
        widget=forms.RadioSelect,
    )
    facts_change = forms.BooleanField(label=_("The facts in the answers change (prices, names, dates)"), required=False)
    fast_answers = forms.BooleanField(label=_("Answers must come fast"), required=False)
    tried_prompting = forms.BooleanField(
        label=_("A ready-made model with careful instructions was tried and was not good enough"), required=False
    )


class WishesForm(StyledForm):
    """What matters when choosing a base model; sent with the address, so that a list can be shared."""

    privacy = forms.ChoiceField(label=_("Privacy"), choices=list(LEVEL_WORDS.items()), required=False)
    budget = forms.ChoiceField(label=_("Budget"), choices=list(LEVEL_WORDS.items()), required=False)
    performance = forms.ChoiceField(label=_("Quality"), choices=list(LEVEL_WORDS.items()), required=False)
    latency = forms.ChoiceField(
        label=_("Answers"), choices=[("any", _("Any speed")), ("fast", _("Fast"))], required=False
    )
