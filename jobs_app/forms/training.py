"""The forms of the training pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts_app.models import Project
from datasets_app.choices import TaskType
from datasets_app.models import Dataset, Snapshot
from datasets_app.queries import datasets_of, ready_snapshots
from finetune_engine.train.spec import METHODS, SpecProblems
from jobs_app import queries
from jobs_app.method_fit import HELD, METHOD_FOR
from jobs_app.models import TrainedModel, TrainingJob
from jobs_app.training_settings import PRESETS, SETTING_GROUPS, SETTINGS, Setting, checked, preset_values
from web_kit.forms import StyledForm
from web_kit.wording import number_words

SHOWN_AT_ONCE = 3
SHOWN_PARENTS = 50
METHOD_WORDS = {
    "sft": _("Good answers (SFT): it learns to write them"),
    "dpo": _("Pairs of a better and a worse answer (DPO)"),
    "kto": _("Answers with a verdict, wanted or not (KTO)"),
}
OWN_FIELDS = frozenset({"method"})  # settings that this form asks in its own way
FOLDED = ("suffix", "validation", "parent_model", "method")  # fields under Advanced that are no settings
YES_NO = {"true": True, "false": False}


class NewTrainingForm(StyledForm):
    """What to learn from, what to start from, and how long. Everything else is under Advanced; an empty field
    there means "as the preset says"."""

    terms: ClassVar[dict[str, str]] = {name: item.glossary for name, item in SETTINGS.items() if item.glossary} | {
        "examples": "snapshot",
        "base_model": "base_model",
    }

    examples = forms.ChoiceField(
        label=_("Examples to learn from"),
        help_text=_("A dataset is frozen first, so that this training can be repeated exactly."),
    )
    base_model = forms.ChoiceField(label=_("Model to start from"), widget=forms.RadioSelect)
    preset = forms.ChoiceField(
        label=_("How thoroughly"),
        choices=[(preset.key, preset.name) for preset in PRESETS],
        initial="balanced",
        widget=forms.RadioSelect,
    )
    name = forms.CharField(
        label=_("Name"), max_length=120, required=False, help_text=_("Empty takes the name of the data.")
    )
    suffix = forms.CharField(
        label=_("Suffix of the model's API name"),
        max_length=64,
        required=False,
        help_text=_("Letters, digits, dots and dashes, for people who call the model from a program."),
    )
    method = forms.ChoiceField(
        label=_("What the examples hold"), required=False, help_text=_("Empty goes by the data that you chose.")
    )
    validation = forms.ChoiceField(
        label=_("Rows of their own to check with"),
        required=False,
        help_text=_(
            "Empty keeps a tenth of the examples aside for that. A dataset chosen here is used for nothing else."
        ),
    )
    parent_model = forms.ChoiceField(
        label=_("Go on from an earlier model"),
        required=False,
        help_text=_("It keeps what it learned. It must have been made from the same base model."),
    )
    cost_approved = forms.BooleanField(label=_("I agree to what this training costs"), required=False)
    clone = forms.CharField(widget=forms.HiddenInput, required=False, max_length=40)
    idempotency_key = forms.CharField(widget=forms.HiddenInput, required=False, max_length=100)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        self.datasets: dict[str, Dataset] = {
            row.pk: row for row in datasets_of(project).exclude(state="failed") if row.state != "ready" or row.usable
        }
        self.snapshots: dict[str, Snapshot] = {row.pk: row for row in ready_snapshots(project)}
        self.cards = queries.base_models(project)
        self.asks_cost = False
        self.data_choices = self._data_choices()
        self._choices("examples").choices = self.data_choices
        self._choices("base_model").choices = [(card.key, card.name) for card in self.cards if card.is_available]
        self.parents: dict[str, TrainedModel] = {
            row.pk: row for row in queries.models_with_files(project)[:SHOWN_PARENTS]
        }
        self._choices("parent_model").choices = [("", _("none")), *((pk, str(row)) for pk, row in self.parents.items())]
        ready = [row for row in self.datasets.values() if row.state == "ready"]
        self._choices("validation").choices = [("", _("none")), *((row.pk, _dataset_words(row)) for row in ready)]
        self._choices("method").choices = [("", _("as the data says")), *((key, METHOD_WORDS[key]) for key in METHODS)]
        for item in _settings():
            self.fields[item.name] = _field(item)

    def _choices(self, name: str) -> forms.ChoiceField:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        return field

    def _data_choices(self) -> list[Any]:
        datasets = [(f"dataset:{row.pk}", _dataset_words(row)) for row in self.datasets.values()]
        snapshots = [(f"snapshot:{row.pk}", _snapshot_words(row)) for row in self.snapshots.values()]
        groups = [(_("Datasets, as they are now"), datasets), (_("Frozen snapshots"), snapshots)]
        return [group for group in groups if group[1]]

    @property
    def has_data(self) -> bool:
        """Whether there is anything to learn from."""
        return bool(self.datasets or self.snapshots)

    def data_named(self, value: str) -> tuple[Snapshot | None, Dataset | None]:
        """The snapshot or the dataset that a choice of ``examples`` means."""
        kind, _colon, pk = value.partition(":")
        return (
            self.snapshots.get(pk) if kind == "snapshot" else None,
            self.datasets.get(pk) if kind == "dataset" else None,
        )

    def asked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that were filled in, as the engine's types."""
        return {item.name: _parsed(item, str(values[item.name])) for item in _settings() if values.get(item.name)}

    def near_and_far(self) -> tuple[list[queries.BaseModelCard], list[queries.BaseModelCard]]:
        """The base models shown at once (those on this machine, at least three), and the others."""
        near = [card for card in self.cards if card.is_available and card.is_here]
        others = [card for card in self.cards if card not in near]
        missing = max(0, SHOWN_AT_ONCE - len(near))
        return near + others[:missing], others[missing:]

    @property
    def has_preferences(self) -> bool:
        """Whether the project holds data from which the method has to be chosen."""
        tasks = {row.task_type for row in self.datasets.values()} | {row.task_type for row in self.snapshots.values()}
        return TaskType.PREFERENCE in tasks

    @property
    def groups(self) -> list[tuple[Any, list[forms.BoundField]]]:
        """The fields under Advanced, by heading."""
        return [
            (title, [self[item.name] for item in items if item.name not in OWN_FIELDS])
            for title, items in SETTING_GROUPS
        ]

    @property
    def has_advanced_errors(self) -> bool:
        """Whether something under Advanced needs attention, so that the fold stands open."""
        return any(name in self.errors for name in (*SETTINGS, *FOLDED)) if self.is_bound else False

    def clean(self) -> dict[str, Any]:
        """Checks all settings together; every mistake goes beside its field."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        cleaned["snapshot"], cleaned["dataset"] = self.data_named(str(cleaned.get("examples", "")))
        cleaned["validation_dataset"] = self.datasets.get(str(cleaned.get("validation") or ""))
        cleaned["parent"] = self.parents.get(str(cleaned.get("parent_model") or ""))
        method = cleaned.get("method") or method_for(cleaned["snapshot"] or cleaned["dataset"])
        cleaned["spec"] = preset_values(str(cleaned.get("preset", ""))) | self.asked(cleaned)
        if method != "sft":
            cleaned["spec"]["method"] = method
        try:
            checked(cleaned["spec"])
        except SpecProblems as found:
            for problem in found.problems:
                self.add_error(problem.field if problem.field in self.fields else None, problem.sentence)
        return cleaned


def _settings() -> list[Setting]:
    return [item for item in SETTINGS.values() if item.name not in OWN_FIELDS]


def method_for(data: Snapshot | Dataset | None) -> str:
    """The method that fits the data; ``sft`` where the data does not say."""
    if data is None or data.task_type != TaskType.PREFERENCE:
        return "sft"
    dataset = data.dataset if isinstance(data, Snapshot) else data
    held = HELD.get(dataset.format)
    return METHOD_FOR[held] if held else "sft"


def initial_of(training: TrainingJob) -> dict[str, Any]:
    """A new form's values for another training like this one. Every setting stands by itself, on the plain preset."""
    examples = f"snapshot:{training.snapshot_id}" if training.snapshot_id else f"dataset:{training.dataset_id}"
    settings = {item.name: _shown(training.spec[item.name]) for item in _settings() if item.name in training.spec}
    return settings | {
        "examples": examples,
        "base_model": training.base_model_key,
        "preset": "balanced",
        "name": training.name,
        "suffix": training.suffix,
        "method": str(training.spec.get("method", "")),
        "validation": training.validation_dataset_id or "",
        "parent_model": training.parent_model_id or "",
        "clone": training.pk,
    }


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(value) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)


def _dataset_words(dataset: Dataset) -> str:
    if dataset.state != "ready":
        return str(_("%(name)s (still being checked; the training waits)")) % {"name": dataset.name}
    return str(_("%(name)s: %(n)s usable rows")) % {"name": dataset.name, "n": number_words(dataset.usable)}


def _snapshot_words(snapshot: Snapshot) -> str:
    return str(_("%(name)s, snapshot %(number)s: %(n)s rows to learn from")) % {
        "name": snapshot.dataset.name,
        "number": snapshot.number,
        "n": number_words(int(snapshot.counts.get("train", 0))),
    }


def _field(item: Setting) -> forms.Field:
    shared: dict[str, Any] = {"label": item.label, "help_text": item.help, "required": False}
    default = _words_of(item.default)
    if item.kind in {"choice", "truth"}:
        automatic = ("", str(_("As the preset says (%(default)s)")) % {"default": default})
        options = [(name, name) for name in item.choices]
        if item.kind == "truth":
            options = [("true", str(_("Yes"))), ("false", str(_("No")))]
        return forms.ChoiceField(choices=[automatic, *options], **shared)
    varies = any(item.name in preset.values for preset in PRESETS)
    attrs = {"placeholder": _("as the preset says") if varies else default, "autocomplete": "off"}
    if item.kind != "words":
        attrs["inputmode"] = "decimal" if item.kind == "number" else "numeric"
    return forms.CharField(widget=forms.TextInput(attrs=attrs), max_length=500, **shared)


def _words_of(value: Any) -> str:
    if isinstance(value, bool):
        return str(_("Yes") if value else _("No"))
    return str(_("automatic")) if value == "auto" else f"{value:g}" if isinstance(value, float) else str(value)


def _parsed(item: Setting, text: str) -> Any:
    """The text as the engine's type; what is no number stays text, for the engine to refuse in its words."""
    text = text.strip()
    if item.kind == "truth":
        return YES_NO.get(text, text)
    if item.kind == "words":
        names = [name.strip() for name in text.split(",") if name.strip()]
        return text if text in {"auto", "all-linear"} else names
    if item.kind == "choice" or (item.takes_auto and text == "auto"):
        return text
    try:
        return int(text) if item.kind == "whole" else float(text.replace(",", "."))
    except ValueError:
        return text
