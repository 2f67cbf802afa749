"""What the prediction log keeps."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from serving_app.operations.log_policy import LONGEST_DAYS
from web_kit.forms import StyledForm


class LogPolicyForm(StyledForm):
    """What is kept, and for how long."""

    keep_days = forms.IntegerField(
        label=_("Days to keep an answer"),
        required=False,
        min_value=1,
        max_value=LONGEST_DAYS,
        help_text=_("Leave it empty to keep them for ever. Counts and feedback stay in any case."),
    )
    masks_personal_data = forms.BooleanField(
        label=_("Replace personal data by marks such as [EMAIL_1]"),
        required=False,
        help_text=_("By the decisions on personal data of this project, before anything is written down."),
    )
    keeps_texts = forms.BooleanField(
        label=_("Keep the texts of questions and answers"),
        required=False,
        help_text=_("Without them only counts, durations and confidence are kept."),
    )
