"""Which answers of a deployment may be told again."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from finetune_engine.serve.semantic import DEFAULT_THRESHOLD
from serving_app.models import Deployment
from web_kit.forms import StyledForm


class CachesForm(StyledForm):
    """The switches of both caches and the threshold of the second; empty: the default."""

    uses_exact_cache = forms.BooleanField(
        label=_("Tell the same answer to the very same question"),
        required=False,
        help_text=_("Safe: only at temperature 0, where the model would write the same again."),
    )
    uses_semantic_cache = forms.BooleanField(
        label=_("Tell the same answer to a question that means the same"),
        required=False,
        help_text=_(
            "A program decides whether two questions mean the same, and it can be wrong. Look at the pairs below."
        ),
    )
    threshold = forms.FloatField(
        label=_("How alike two questions must be"),
        required=False,
        min_value=0.5,
        max_value=1,
        widget=forms.NumberInput(attrs={"step": "0.01", "inputmode": "decimal"}),
        help_text=_("From 0.5 to 1; higher is stricter. Empty: %(default)s.") % {"default": DEFAULT_THRESHOLD},
    )

    @classmethod
    def of(cls, deployment: Deployment) -> CachesForm:
        """Filled with what holds now."""
        return cls(
            initial={
                "uses_exact_cache": deployment.uses_exact_cache,
                "uses_semantic_cache": deployment.uses_semantic_cache,
                "threshold": deployment.semantic_threshold,
            }
        )
