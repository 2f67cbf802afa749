"""The form that freezes a dataset."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _

from datasets_app.choices import SPLITS, TaskType
from datasets_app.models import Dataset
from web_kit.forms import StyledForm

NOT_GROUPS = frozenset(
    {
        "messages", "conversations", "conversation", "prompt", "completion", "chosen", "rejected", "input", "label",
        "preferred_output", "preferred_completion", "non_preferred_output", "split", "system", "tools", "text",
        "parallel_tool_calls",
    }
)  # fmt: skip


class SnapshotForm(StyledForm):
    """How to divide the rows: shares in percent."""

    terms: ClassVar[dict[str, str]] = {"seed": "seed"}

    train = forms.FloatField(label=_("To learn from (train), %"), initial=80, min_value=0, max_value=100)
    validation = forms.FloatField(
        label=_("To tell when to stop (validation), %"), initial=10, min_value=0, max_value=100
    )
    test = forms.FloatField(label=_("Kept back to judge (test), %"), initial=10, min_value=0, max_value=100)
    stratify_by = forms.ChoiceField(
        label=_("Keep equal in all three"),
        required=False,
        choices=[("label", _("the share of each label")), ("none", _("nothing: deal the rows out by chance alone"))],
        help_text=_("So that a rare label is not missing where the model is judged."),
    )
    group_by = forms.ChoiceField(
        label=_("Keep rows together that share"),
        required=False,
        help_text=_(
            "Rows that are nearly the same always stay together. Choose a column as well if rows belong together, for "
            "example the contract a clause comes from: otherwise the test asks what the model has already seen."
        ),
    )
    seed = forms.IntegerField(
        label=_("Number that starts the shuffle"),
        initial=42,
        min_value=0,
        max_value=2**31 - 1,
        help_text=_("The same number gives the same split."),
    )
    idempotency_key = forms.CharField(widget=forms.HiddenInput, required=False, max_length=100)

    def __init__(self, *args: Any, dataset: Dataset, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        group = self.fields["group_by"]
        assert isinstance(group, forms.ChoiceField)
        group.choices = [("", _("nothing more")), *((column, column) for column in columns_to_group_by(dataset))]
        if dataset.task_type != TaskType.CLASSIFICATION:
            del self.fields["stratify_by"]

    @property
    def shares(self) -> dict[str, float]:
        """The three shares as the operation takes them."""
        return {name: self.cleaned_data[name] / 100 for name in SPLITS}

    @property
    def stratification(self) -> str | None:
        """``stratify_by`` as the operation takes it: ``auto`` where the form does not ask."""
        return {"label": "label", "none": None}.get(self.cleaned_data.get("stratify_by") or "auto", "auto")

    def clean(self) -> dict[str, Any]:
        """The shares add up to 100."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        shares = [data[name] for name in SPLITS if data.get(name) is not None]
        if len(shares) == len(SPLITS) and abs(sum(shares) - 100) > 0.5:
            self.add_error(
                "train", _("The three shares must add up to 100 %%; they add up to %(n)g.") % {"n": sum(shares)}
            )
        return data


def columns_to_group_by(dataset: Dataset) -> list[str]:
    """Columns whose equal values may keep rows together: the one chosen at the import, else all that were kept."""
    mapping = dataset.mapping or {}
    if mapping.get("group"):
        return [str(mapping["group"])]
    used: set[str] = set()
    for part in ("prompt", "completion", "system", "label", "split"):
        value = mapping.get(part)
        used.update(value if isinstance(value, list) else [value] if value else [])
    kept = mapping.get("metadata")
    return [str(c) for c in dataset.columns if c not in used | NOT_GROUPS and (kept is None or c in kept)]
