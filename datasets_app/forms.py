"""The forms of the data pages."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _

from datasets_app.choices import TaskType, format_choices
from datasets_app.sniffing import FirstLook
from web_kit.forms import StyledForm

_PARTS = ("prompt", "completion", "system", "group", "split")


class UploadForm(StyledForm):
    """One file."""

    file = forms.FileField(
        label=_("File with your examples"),
        help_text=_(
            "JSON lines, JSON, CSV or TSV, also compressed (.gz). One example per row: a text and its answer or label."
        ),
        allow_empty_file=True,
        max_length=1000,
    )


class ImportForm(StyledForm):
    """How to read an upload: format, task and, for tables, which column is what."""

    terms: ClassVar[dict[str, str]] = {}

    name = forms.CharField(label=_("Name of the dataset"), max_length=120)
    format = forms.ChoiceField(label=_("Format"), required=False)
    task_type = forms.ChoiceField(label=_("What shall the model learn?"), required=False)
    prompt = forms.MultipleChoiceField(
        label=_("Input: what the model is given"),
        required=False,
        help_text=_("Several columns are joined, one below the other."),
    )
    completion = forms.ChoiceField(label=_("Answer or label: what the model shall say"), required=False)
    system = forms.ChoiceField(label=_("Instructions (system message)"), required=False)
    group = forms.ChoiceField(
        label=_("Group"), required=False, help_text=_("Rows with the same value stay in the same split.")
    )
    split = forms.ChoiceField(
        label=_("Split"), required=False, help_text=_("A column that says train, validation or test.")
    )
    idempotency_key = forms.CharField(widget=forms.HiddenInput, required=False, max_length=100)

    def __init__(self, *args: Any, look: FirstLook, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.look = look
        self._choices("format").choices = format_choices()
        self._choices("task_type").choices = [c for c in TaskType.choices if c[0] != TaskType.PREFERENCE]
        columns = [(column, column) for column in look.columns]
        self._choices("prompt").choices = columns
        for name in _PARTS[1:]:
            self._choices(name).choices = [("", _("– none –")), *columns]

    def _choices(self, name: str) -> forms.ChoiceField:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        return field

    @property
    def mapping(self) -> dict[str, Any] | None:
        """The columns a person chose; None when none was, which means "find out"."""
        chosen = {part: self.cleaned_data.get(part) for part in _PARTS}
        if not chosen["prompt"] and not chosen["completion"]:
            return None
        mapping: dict[str, Any] = {part: value for part, value in chosen.items() if value}
        if self.cleaned_data.get("task_type") == TaskType.CLASSIFICATION and mapping.get("completion"):
            mapping["label"] = mapping["completion"]
        return None if self._is_the_guess(mapping) else mapping

    def _is_the_guess(self, mapping: dict[str, Any]) -> bool:
        """Whether this is what would be found anyway, so that nothing needs to be fixed."""
        guess = self.look.mapping or {}
        return all(_listed(mapping.get(part)) == _listed(guess.get(part)) for part in _PARTS)

    def clean(self) -> dict[str, Any]:
        """An input needs an answer, and the other way round."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if bool(data.get("prompt")) != bool(data.get("completion")):
            missing = "completion" if data.get("prompt") else "prompt"
            self.add_error(missing, _("Choose both the input and the answer, or neither."))
        return data


def guessed_values(look: FirstLook, name: str) -> dict[str, Any]:
    """The form's first values: what the file seems to be."""
    mapping = look.mapping or {}
    values: dict[str, Any] = {part: mapping.get(part) or "" for part in _PARTS[1:]}
    stem = name.rsplit("/", 1)[-1].split(".")[0].replace("_", " ").replace("-", " ").strip()
    return values | {
        "name": stem or name,
        "format": "auto",
        "task_type": "auto",
        "prompt": _listed(mapping.get("prompt")),
    }


def _listed(value: Any) -> list[str]:
    if not value:
        return []
    return [value] if isinstance(value, str) else list(value)


class SnapshotForm(StyledForm):
    """How to divide the rows: shares in percent."""

    terms: ClassVar[dict[str, str]] = {"seed": "seed"}

    train = forms.FloatField(label=_("To learn from (train), %"), initial=80, min_value=0, max_value=100)
    validation = forms.FloatField(
        label=_("To tell when to stop (validation), %"), initial=10, min_value=0, max_value=100
    )
    test = forms.FloatField(label=_("Kept back to judge (test), %"), initial=10, min_value=0, max_value=100)
    stratify = forms.BooleanField(
        label=_("Keep the share of each label equal in all three"), required=False, initial=True
    )
    group_by = forms.ChoiceField(
        label=_("Keep rows together that share a value of"),
        required=False,
        help_text=_("For example the contract a clause comes from, so that the test is honest."),
    )
    seed = forms.IntegerField(
        label=_("Seed"),
        initial=42,
        min_value=0,
        max_value=2**31 - 1,
        help_text=_("The same number gives the same split."),
    )
    idempotency_key = forms.CharField(widget=forms.HiddenInput, required=False, max_length=100)

    def __init__(self, *args: Any, columns: list[str], has_labels: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        group = self.fields["group_by"]
        assert isinstance(group, forms.ChoiceField)
        group.choices = [("", _("– nothing –")), *((c, c) for c in columns)]
        if not columns:
            del self.fields["group_by"]
        if not has_labels:
            del self.fields["stratify"]

    @property
    def split(self) -> dict[str, float]:
        """The three shares as the operation takes them."""
        return {name: self.cleaned_data[name] / 100 for name in ("train", "validation", "test")}

    def clean(self) -> dict[str, Any]:
        """The shares add up to 100."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        shares = [data[name] for name in ("train", "validation", "test") if data.get(name) is not None]
        if len(shares) == 3 and abs(sum(shares) - 100) > 0.5:
            self.add_error(
                "train", _("The three shares must add up to 100 %%; they add up to %(n)g.") % {"n": sum(shares)}
            )
        return data
