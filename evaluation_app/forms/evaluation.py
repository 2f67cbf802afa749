"""The form that starts an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts_app.models import Project
from datasets_app.models import Snapshot
from datasets_app.queries import ready_snapshots
from evaluation_app.choices import SHOTS, SUITE_WORDS, Split, Suite, headlines_for, metric_words
from evaluation_app.operations.contenders import ContenderWish
from evaluation_app.operations.evaluations import EvaluationProblems
from evaluation_app.operations.spending import CostNotApproved
from finetune_engine.errors import UserError
from finetune_engine.evaluate.conclusions.overall import DEFAULT_WEIGHTS
from jobs_app.models import ProviderConnection, TrainedModel
from jobs_app.queries import trained_models
from jobs_app.queries.providers import connections_of
from web_kit.forms import StyledForm

SHOWN_MODELS = 12
MOST_ENDPOINT_MODELS = 4
FIELD_OF = {
    "models": "others",
    "prompts": "prompt_system",
    "endpoints": "endpoint_models",
    "weights": "weight_quality",
    "slices": "slice_columns",
    "fairness": "fairness_columns",
    "judge": "judge_model",
}


class EvaluationForm(StyledForm):
    """Which models, on which rows, measured how. Only the model must be named; the rest has sensible answers."""

    trained_model: forms.ModelChoiceField[TrainedModel] = forms.ModelChoiceField(
        label=_("Which model"), queryset=None, empty_label=None, error_messages={"required": _("Choose a model.")}
    )
    others = forms.MultipleChoiceField(
        label=_("Other trained models"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Earlier versions, or saved states of the same training. They answer the same cases."),
    )
    endpoint_connection: forms.ModelChoiceField[ProviderConnection] = forms.ModelChoiceField(
        label=_("A model behind an address"), queryset=None, required=False, empty_label=_("none")
    )
    endpoint_models = forms.CharField(
        label=_("What it is called there"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("One name per line. The cases are sent to that address, and every answer may cost money."),
    )
    prompt_system = forms.CharField(
        label=_("Instructions for the base model"),
        required=False,
        max_length=8_000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_(
            "What you would tell a clever assistant who has never done this. The base model reads it each time."
        ),
    )
    prompt_shots = forms.MultipleChoiceField(
        label=_("With how many solved examples"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Each tick is one more contender. The examples come from the rows that were trained on."),
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
    suites = forms.MultipleChoiceField(label=_("What to measure"), required=False, choices=Suite.choices)
    headline = forms.ChoiceField(
        label=_("Which figure decides"),
        required=False,
        help_text=_("Named before anything is measured, so that nobody picks the kindest one afterwards."),
    )
    slice_columns = forms.CharField(
        label=_("Tell apart by these columns"),
        required=False,
        max_length=500,
        help_text=_("Names of columns of your data, separated by commas: where is it good, and where not?"),
    )
    fairness_columns = forms.CharField(
        label=_("Columns that hold groups of people"),
        required=False,
        max_length=500,
        help_text=_("For fairness: names of columns, separated by commas."),
    )
    swap_lists = forms.CharField(
        label=_("Your own words to swap"),
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("For fairness, one list per line: places: Berlin, Hamburg | Lagos, Accra"),
    )
    judge_connection: forms.ModelChoiceField[ProviderConnection] = forms.ModelChoiceField(
        label=_("A model that judges the answers"), queryset=None, required=False, empty_label=_("no judge")
    )
    judge_model = forms.CharField(label=_("What the judge is called there"), required=False, max_length=250)
    judge_rubric = forms.CharField(
        label=_("What the judge looks for"), required=False, max_length=4_000, widget=forms.Textarea(attrs={"rows": 3})
    )
    judge_sample = forms.IntegerField(
        label=_("How many cases the judge reads"), required=False, min_value=1, max_value=500
    )
    discordance = forms.IntegerField(
        label=_("On how many of 100 cases do the two models differ?"),
        required=False,
        min_value=1,
        max_value=100,
        help_text=_("Your guess. Empty: as an earlier evaluation found, else 20."),
    )
    cost_approved = forms.BooleanField(label=_("Yes, this may cost money"), required=False)
    cost_figures = forms.CharField(required=False, max_length=60, widget=forms.HiddenInput)
    idempotency_key = forms.CharField(required=False, max_length=60, widget=forms.HiddenInput)

    terms: ClassVar[dict[str, str]] = {
        "trained_model": "trained_model",
        "snapshot": "snapshot",
        "split": "split",
        "prompt_system": "system_prompt",
        "prompt_shots": "few_shot",
        "headline": "headline_metric",
        "slice_columns": "slice",
        "swap_lists": "counterfactual",
        "judge_connection": "judge",
        "discordance": "discordance",
    }

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        models = trained_models(project)
        self.models = list(models)
        self._offer("trained_model", models, self.models)
        self.fields["others"].choices = [(model.pk, model.name) for model in self.models[:SHOWN_MODELS]]  # type: ignore[attr-defined]
        self.fields["snapshot"].queryset = ready_snapshots(project)  # type: ignore[attr-defined]
        connections = connections_of(project)
        known = list(connections)
        for name in ("endpoint_connection", "judge_connection"):
            self._offer(name, connections, known)
        self.has_connections = bool(known)
        self.fields["headline"].choices = _headlines()  # type: ignore[attr-defined]
        self.fields["prompt_shots"].choices = [(str(n), _shots(n)) for n in SHOTS]  # type: ignore[attr-defined]
        for suite in Suite.values:
            self.fields[f"weight_{suite}"] = forms.IntegerField(
                label=Suite(suite).label,
                required=False,
                min_value=0,
                max_value=100,
                initial=round(DEFAULT_WEIGHTS[suite] * 100),
            )
        self.asks_cost = False

    def _offer(self, name: str, rows: QuerySet[Any], known: Sequence[Any]) -> None:
        """The rows that a field may name, read once however many fields show them."""
        field: Any = self.fields[name]
        field.queryset = rows
        empty = [("", field.empty_label)] if field.empty_label is not None else []
        field.choices = [*empty, *((row.pk, str(row)) for row in known)]

    @property
    def weight_fields(self) -> list[Any]:
        """The bound fields of the weights, in the order of the suites."""
        return [self[f"weight_{suite}"] for suite in Suite.values]

    @property
    def suite_lines(self) -> list[dict[str, Any]]:
        """The suites with what each is for. Quality cannot be left out."""
        chosen = self["suites"].value() or []
        return [
            {
                "value": str(suite),
                "label": suite.label,
                "words": SUITE_WORDS[suite],
                "is_fixed": suite == Suite.QUALITY,
                "is_chosen": suite == Suite.QUALITY or str(suite) in chosen,
            }
            for suite in Suite
        ]

    @property
    def opens_advanced(self) -> bool:
        """Whether something in the folded part needs attention."""
        folded = ("headline", "slice_columns", "fairness_columns", "swap_lists", "discordance")
        names = [*folded, *(name for name in self.fields if name.startswith(("judge_", "weight_")))]
        return any(name in self.errors for name in names)

    def add_problems(self, error: UserError) -> None:
        """Show a refusal beside the fields that it is about."""
        for problem in error.problems if isinstance(error, EvaluationProblems) else [error]:
            problem.field = self._shown(FIELD_OF.get(problem.field or "", problem.field))
            self.add_user_error(problem)
            self.asks_cost = self.asks_cost or problem.code in {"cost_not_approved", "over_budget"}
        if isinstance(error, CostNotApproved):  # the yes that comes back is to these figures, and to be said anew
            told: Any = self.data
            self.data = told = told.copy()
            told["cost_figures"] = error.figures
            told.pop("cost_approved", None)

    def _shown(self, name: str | None) -> str | None:
        """The field, or what stands for it where the page does not show it: nobody could read its error there."""
        if name == "others" and len(self.models[:SHOWN_MODELS]) < 2:
            return "trained_model"
        is_elsewhere = (name or "").startswith(("endpoint_", "judge_"))
        return None if is_elsewhere and not self.has_connections else name

    def clean_swap_lists(self) -> dict[str, list[list[str]]]:
        """``{name: [[..], [..]]}``; the error names the line that cannot be read."""
        found = {}
        for number, line in enumerate(self.cleaned_data["swap_lists"].splitlines(), start=1):
            name, colon, rest = line.partition(":")
            groups = [_words(part) for part in rest.split("|")]
            if not line.strip():
                continue
            if not colon or len(groups) != 2 or not all(groups):
                sentence = _("Line %(n)s is not a list such as “places: Berlin, Hamburg | Lagos, Accra”.")
                raise forms.ValidationError(sentence, params={"n": number})
            found[name.strip()] = groups
        return found

    def clean_endpoint_models(self) -> list[str]:
        """The names, one per line. More than can be asked are refused, not forgotten."""
        names = [line.strip() for line in self.cleaned_data["endpoint_models"].splitlines() if line.strip()]
        if len(names) > MOST_ENDPOINT_MODELS:
            told = {"most": MOST_ENDPOINT_MODELS}
            raise forms.ValidationError(_("Name at most %(most)s models."), params=told)
        return names

    def clean(self) -> dict[str, Any]:
        """A judge needs an address as well as a name."""
        data = super().clean() or self.cleaned_data
        if (data.get("judge_model") or data.get("judge_rubric")) and data.get("judge_connection") is None:
            self.add_error("judge_connection", _("Choose where the judge is asked, or clear its other fields."))
        return data

    def wishes(self) -> dict[str, Any]:
        """The arguments of ``start_evaluation``; of a form with mistakes, those that could be read."""
        data = self.cleaned_data
        return {
            "trained_model": data.get("trained_model"),
            "others": self._others(),
            "snapshot": data.get("snapshot"),
            "split": data.get("split") or Split.TEST,
            "limit": data.get("limit"),
            "suites": data.get("suites") or [],
            "settings": self._settings(),
            "idempotency_key": data.get("idempotency_key") or None,
            "cost_approved": bool(data.get("cost_approved")),
            "cost_figures": data.get("cost_figures") or "",
        }

    def _others(self) -> list[ContenderWish]:
        data = self.cleaned_data
        models = {model.pk: model for model in self.models[:SHOWN_MODELS]}
        wishes = [ContenderWish(trained_model=models[pk]) for pk in data.get("others") or () if pk in models]
        system = (data.get("prompt_system") or "").strip()
        shots = [int(n) for n in data.get("prompt_shots") or ()] or ([0] if system else [])
        wishes += [ContenderWish(system=system, shots=n) for n in shots if system or n]
        connection = data.get("endpoint_connection")
        names = data.get("endpoint_models") or ([""] if connection is not None else [])
        return wishes + [ContenderWish(connection=connection, remote_name=name) for name in names]

    def _settings(self) -> dict[str, Any]:
        data = self.cleaned_data
        judge = data.get("judge_connection")
        discordance = data.get("discordance")
        return {
            "headline": data.get("headline"),
            "weights": self._weights(),
            "slices": {"columns": columns} if (columns := _words(data.get("slice_columns") or "")) else None,
            "fairness": {
                "columns": _words(data.get("fairness_columns") or ""),
                "lists": data.get("swap_lists") or {},
            }
            if data.get("fairness_columns") or data.get("swap_lists")
            else None,
            "judge": {
                "connection": judge.pk,
                "model": data.get("judge_model") or "",
                "rubric": data.get("judge_rubric") or "",
                "sample": data.get("judge_sample"),
            }
            if judge is not None
            else None,
            "discordance": discordance / 100 if discordance else None,
        }

    def _weights(self) -> dict[str, float] | None:
        """Shares 0..1; None when nobody changed the usual ones."""
        told = {suite: self.cleaned_data.get(f"weight_{suite}") for suite in Suite.values}
        shares = {suite: percent / 100 for suite, percent in told.items() if percent is not None}
        return None if not shares or shares == DEFAULT_WEIGHTS else shares


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _shots(n: int) -> str:
    return ngettext("%(n)s example", "%(n)s examples", n) % {"n": n} if n else gettext("no example")


def _headlines() -> list[tuple[str, Any]]:
    """All that may decide, the usual one of the task first."""
    names: Iterable[str] = dict.fromkeys([*headlines_for("classification"), *headlines_for("chat")])
    return [("", _("The usual one for this kind of task")), *((name, metric_words(name).plain) for name in names)]
