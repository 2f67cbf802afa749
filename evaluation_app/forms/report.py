"""Forms around a report: the signature, and what the work costs today."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.forms import BoundField
from django.utils.translation import gettext_lazy as _

from evaluation_app.operations.sign_off import STANDING
from finetune_engine.errors import UserError
from finetune_engine.evaluate.worth.assumptions import SPREADS, Assumptions, Spread
from web_kit.forms import StyledForm

ENDS = ("low", "expected", "high")


class SignOffForm(StyledForm):
    """The box to tick and, where something speaks against the model, the reason."""

    sign_off = forms.BooleanField(
        label=_("I have read the report and stand for using this model"),
        error_messages={"required": _("Tick this box to sign.")},
    )
    statement = forms.CharField(
        label=_("Statement"),
        required=False,
        max_length=5_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_(
            "What the model may be used for, and what not. Needed as a reason where something speaks against it."
        ),
    )

    def __init__(self, *args: Any, needs_reason: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if needs_reason:
            statement = self.fields["statement"]
            statement.required = True
            statement.help_text = _("Something speaks against this model: write down why it may be used nevertheless.")
            statement.error_messages["required"] = _("Something speaks against this model: write down the reason.")

    def words(self) -> str:
        """What is signed."""
        return str(self.cleaned_data["statement"]).strip() or STANDING


@dataclass(frozen=True)
class SpreadFields:
    """One uncertain input as three fields side by side."""

    label: Any
    help: Any
    fields: list[BoundField]


class AssumptionsForm(StyledForm):
    """All assumptions. An empty figure is one that nobody has said; low and high empty: the expected one is certain."""

    today = forms.ChoiceField(
        label=_("Who does the work today"),
        choices=[("manual", _("People alone")), ("model", _("Another model"))],
        help_text=_("Savings are counted against this."),
    )
    currency = forms.CharField(
        label=_("Currency"), max_length=3, min_length=3, initial="EUR", help_text=_("Such as EUR or USD.")
    )
    horizon_months = forms.IntegerField(
        label=_("Looked at over how many months"), min_value=1, max_value=120, initial=12
    )
    share_source = forms.ChoiceField(
        label=_("Share of answers used unchanged"),
        choices=[
            ("accuracy", _("The share of right answers in the report")),
            ("human", _("What reviewers left as it was")),
            ("typed", _("The figures typed below")),
        ],
    )
    LABELS: ClassVar[dict[str, tuple[Any, Any]]] = {
        "monthly_volume": (_("Cases a month"), ""),
        "hourly_rate": (_("What an hour of this work costs"), ""),
        "minutes_today": (_("Minutes that a case takes a person today"), ""),
        "minutes_saved": (
            _("Minutes saved per case whose answer is used unchanged"),
            _("Take off the time that a person needs to check the answer."),
        ),
        "share_unchanged": (_("Share of answers used unchanged, from 0 to 1"), _("Only if you chose “typed” above.")),
        "running_cost_per_answer": (_("Running cost of one answer"), _("Empty: as measured in the report.")),
        "running_cost_per_month": (
            _("Running cost each month, whatever the volume"),
            _("A machine or a licence. If this is all that running costs, put 0 for one answer."),
        ),
        "baseline_cost_per_answer": (
            _("What an answer of today's model costs"),
            _("Only if a model does the work today."),
        ),
        "training_cost": (_("What the training cost"), _("Empty: as recorded in the report.")),
        "data_preparation_cost": (_("What preparing the data cost, once"), ""),
    }

    def __init__(self, data: Any = None, *, given: Assumptions) -> None:
        super().__init__(data, initial=_initial(given))
        self._baseline = given.baseline  # which model of a report; a program may have named it
        words = {"low": _("Lowest"), "expected": _("Expected"), "high": _("Highest")}
        for name in self.LABELS:
            for end in ENDS:
                self.fields[f"{name}_{end}"] = forms.DecimalField(
                    label=words[end], required=False, min_value=0, max_digits=16, decimal_places=8
                )

    @property
    def plain_fields(self) -> list[BoundField]:
        """Those that are one figure or one choice."""
        return [self[name] for name in ("today", "currency", "horizon_months", "share_source")]

    @property
    def spreads(self) -> list[SpreadFields]:
        """The uncertain ones."""
        return [
            SpreadFields(label, note, [self[f"{name}_{end}"] for end in ENDS])
            for name, (label, note) in self.LABELS.items()
        ]

    def values(self) -> dict[str, Any]:
        """As ``assumptions_of`` reads them."""
        data = self.cleaned_data
        found: dict[str, Any] = {name: data[name] for name in ("today", "horizon_months", "share_source")}
        found |= {"currency": str(data["currency"]).upper(), "baseline": self._baseline}
        for name in self.LABELS:
            ends = {end: data[f"{name}_{end}"] for end in ENDS}
            if any(value is not None for value in ends.values()):
                found[name] = {end: None if value is None else str(value) for end, value in ends.items()}
        if found["share_source"] != "typed":
            found.pop("share_unchanged", None)
        return found

    def add_user_error(self, error: UserError) -> None:
        """Beside the expected figure of the input at fault."""
        field = f"{error.field}_expected" if error.field in SPREADS else error.field
        super().add_user_error(UserError(error.code, error.sentence, field))


def _initial(given: Assumptions) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in vars(given).items():
        if not isinstance(value, Spread):
            found[name] = value
        elif value.low == value.high:
            found[f"{name}_expected"] = _plain(value.expected)
        else:
            found |= {f"{name}_{end}": _plain(getattr(value, end)) for end in ENDS}
    return found


def _plain(value: Any) -> str:
    return f"{value.normalize():f}"
