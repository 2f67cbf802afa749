"""The form that starts an evaluation."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts_app.models import Project
from datasets_app.models import Snapshot
from datasets_app.queries import ready_snapshots
from evaluation_app.choices import Split, Suite
from jobs_app.models import TrainedModel
from jobs_app.queries import models_with_files
from web_kit.forms import StyledForm


class EvaluationForm(StyledForm):
    """Which model, on which rows. Only the model must be named; the rest has sensible answers."""

    trained_model: forms.ModelChoiceField[TrainedModel] = forms.ModelChoiceField(
        label=_("Which model"), queryset=None, empty_label=None, error_messages={"required": _("Choose a model.")}
    )
    snapshot: forms.ModelChoiceField[Snapshot] = forms.ModelChoiceField(
        label=_("Judged on which data"),
        queryset=None,
        required=False,
        empty_label=_("The snapshot it was trained from (its test rows)"),
        help_text=_("Choose another snapshot to compare several models on the same cases."),
    )
    split = forms.ChoiceField(label=_("Which part"), choices=Split.choices, required=False, initial=Split.TEST)
    limit = forms.IntegerField(
        label=_("At most how many cases"),
        required=False,
        min_value=1,
        help_text=_("Empty: all of them. Fewer is quicker and says less."),
    )
    measure_speed = forms.BooleanField(
        label=_("Measure the speed as well"), required=False, help_text=_("Takes some minutes more.")
    )
    terms: ClassVar[dict[str, str]] = {"trained_model": "trained_model", "snapshot": "snapshot", "split": "split"}

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["trained_model"].queryset = models_with_files(project)  # type: ignore[attr-defined]
        self.fields["snapshot"].queryset = ready_snapshots(project)  # type: ignore[attr-defined]

    def wishes(self) -> dict[str, Any]:
        """The arguments of ``start_evaluation``."""
        data = self.cleaned_data
        suites: list[str] = [Suite.QUALITY]
        if data["measure_speed"]:
            suites.append(Suite.PERFORMANCE)
        return {
            "trained_model": data["trained_model"],
            "snapshot": data["snapshot"],
            "split": data["split"] or Split.TEST,
            "limit": data["limit"],
            "suites": suites,
        }
