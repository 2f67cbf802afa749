"""What somebody wants to be told about."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from serving_app.alerts import KINDS
from serving_app.choices import AlertKind
from web_kit.forms import StyledForm

UNITS = {"share": _("percent"), "seconds": _("seconds"), "count": _("number")}


class AlertRuleForm(StyledForm):
    """A rule. Shares are written in percent here and kept as 0..1."""

    kind = forms.ChoiceField(
        label=_("Figure"),
        choices=lambda: [(kind.value, f"{kind.label} ({UNITS[KINDS[kind].unit]})") for kind in AlertKind],
    )
    threshold = forms.FloatField(
        label=_("Limit"),
        min_value=0,
        help_text=_("In the unit of the figure: 5 means 5 percent."),
    )
    window_minutes = forms.IntegerField(
        label=_("Over how many minutes"),
        required=False,
        min_value=5,
        help_text=_("Leave it empty for what is usual."),
    )

    def kept(self) -> dict[str, Any]:
        """The values as the operation takes them."""
        given = dict(self.cleaned_data)
        if KINDS[given["kind"]].unit == "share":
            given["threshold"] /= 100
        return given
