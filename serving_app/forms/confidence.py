"""How often answers must be right, or below which confidence a person must look."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from web_kit.forms import StyledForm

USUAL_PROMISE = 95.0


class PromiseForm(StyledForm):
    """``promise`` is in per cent, ``share`` the same as 0..1 once the form is valid."""

    promise = forms.FloatField(
        label=_("Right at least, in per cent"),
        min_value=1,
        max_value=99.9,
        initial=USUAL_PROMISE,
        help_text=_("Of the answers that nobody looks at, so many of 100 are to be right."),
        widget=forms.NumberInput(attrs={"step": "0.1", "inputmode": "decimal"}),
    )

    @property
    def share(self) -> float:
        """The promise as 0..1."""
        return float(self.cleaned_data["promise"]) / 100


class ThresholdForm(StyledForm):
    """A threshold set by hand, in per cent; empty: nobody is asked."""

    threshold = forms.FloatField(
        label=_("Ask a person below, in per cent"),
        min_value=0,
        max_value=100,
        required=False,
        help_text=_("Empty: no answer is put before a person."),
        widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
    )

    @property
    def share(self) -> float | None:
        """The threshold as 0..1, None when it was left empty."""
        wanted = self.cleaned_data["threshold"]
        return None if wanted is None else float(wanted) / 100
