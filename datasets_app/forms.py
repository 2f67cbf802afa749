"""The forms of the data pages: a file, how it is read, and how its rows are checked."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _

from datasets_app.choices import OVER_LENGTH, TaskType, format_choices
from datasets_app.operations.import_settings import LARGEST_CONTEXT, check_template, template_columns
from datasets_app.sniffing import FirstLook
from datasets_app.tokenizers import tokenizers_here
from finetune_engine.errors import UserError
from web_kit.forms import StyledForm

_PARTS = ("prompt", "completion", "label", "system", "group", "split", "metadata", "lists")
_SEVERAL = ("prompt", "metadata", "lists")
_ENDINGS = ".jsonl,.ndjson,.json,.csv,.tsv,.txt,.xlsx,.parquet,.gz,application/json,text/csv"


class UploadForm(StyledForm):
    """One file."""

    file = forms.FileField(
        label=_("File with your examples"),
        help_text=_(
            "JSON lines, JSON, CSV, TSV, Excel (.xlsx) or Parquet, the text kinds also compressed (.gz). One example per "
            "row: a text and its answer or label."
        ),
        allow_empty_file=True,
        max_length=1000,
        widget=forms.ClearableFileInput(attrs={"accept": _ENDINGS}),
    )


class AddressForm(StyledForm):
    """A file that lies on the web."""

    url = forms.CharField(
        label=_("Web address of a file"),
        max_length=2000,
        help_text=_("This site fetches it, once. It must be reachable without a password."),
        widget=forms.URLInput(attrs={"placeholder": "https://example.org/data.csv"}),
    )


class ReadingForm(StyledForm):
    """How to read a file: its format and, for tables, which column is what."""

    terms: ClassVar[dict[str, str]] = {}

    format = forms.ChoiceField(label=_("Format"), required=False)
    prompt = forms.MultipleChoiceField(
        label=_("Input: what the model is given"),
        required=False,
        help_text=_("Several columns are joined, one below the other."),
    )
    prompt_template = forms.CharField(
        label=_("Template that joins the columns"),
        required=False,
        max_length=2000,
        help_text=_("Column names in braces, for example {title}: {body}. It takes the place of the list of columns."),
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    completion = forms.ChoiceField(label=_("Answer: what the model shall say"), required=False)
    label = forms.ChoiceField(
        label=_("Label"), required=False, help_text=_("For plots and even splits; often the same column as the answer.")
    )
    system = forms.ChoiceField(label=_("Instructions (system message)"), required=False)
    group = forms.ChoiceField(
        label=_("Group"), required=False, help_text=_("Rows with the same value stay in the same split.")
    )
    split = forms.ChoiceField(
        label=_("Split"), required=False, help_text=_("A column that says train, validation or test.")
    )
    metadata = forms.MultipleChoiceField(
        label=_("Keep beside the text"),
        required=False,
        help_text=_("Columns that the model does not see, but you do. None chosen: all that have no other part."),
    )
    lists = forms.MultipleChoiceField(
        label=_("Lists to read"),
        required=False,
        help_text=_("This file is one object that holds several lists. None chosen: all of them."),
    )

    def __init__(self, *args: Any, look: FirstLook, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.look = look
        self._choices("format").choices = format_choices()
        columns = [(column, column) for column in look.columns]
        for name in _PARTS:
            self._choices(name).choices = columns if name in _SEVERAL else [("", _("– none –")), *columns]
        self._choices("lists").choices = [(name, name) for name in look.lists]
        if not look.lists:
            del self.fields["lists"]

    def _choices(self, name: str) -> forms.ChoiceField:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        return field

    @property
    def mapping(self) -> dict[str, Any] | None:
        """The columns a person chose; None when none was, which means "find out"."""
        chosen = {part: self.cleaned_data.get(part) for part in (*_PARTS, "prompt_template")}
        mapping: dict[str, Any] = {part: value for part, value in chosen.items() if value}
        if template := mapping.get("prompt_template"):
            mapping["prompt"] = template_columns(template)
        if not mapping.get("prompt") or not mapping.get("completion"):
            return None
        if self.cleaned_data.get("task_type") == TaskType.CLASSIFICATION:
            mapping.setdefault("label", mapping["completion"])
        return None if self._is_the_guess(mapping) else mapping

    def _is_the_guess(self, mapping: dict[str, Any]) -> bool:
        """Whether this is what would be found anyway, so that nothing needs to be fixed."""
        guess = self.look.mapping or {}
        parts = [part for part in (*_PARTS, "prompt_template") if part not in {"label", "metadata"}]
        same = all(_listed(mapping.get(part)) == _listed(guess.get(part)) for part in parts)
        return same and mapping.get("label", guess.get("label")) == guess.get("label") and not mapping.get("metadata")

    @property
    def reading(self) -> dict[str, Any]:
        """``{format, mapping}`` as the operations take them."""
        return {"format": self.cleaned_data.get("format") or "auto", "mapping": self.mapping}

    def clean(self) -> dict[str, Any]:
        """An input needs an answer, and the other way round; a template names columns that exist."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if template := data.get("prompt_template"):
            try:
                check_template(template, self.look.columns)
            except UserError as error:
                self.add_error("prompt_template", error.sentence)
        has_input = bool(data.get("prompt") or data.get("prompt_template"))
        if has_input != bool(data.get("completion")):
            missing = "completion" if has_input else "prompt"
            self.add_error(missing, _("Choose both the input and the answer, or neither."))
        elif data.get("lists") and not has_input:
            self.add_error("lists", _("Choose the columns for the input and the answer, too."))
        return data


class ImportForm(ReadingForm):
    """A new dataset from a file: its name, what the model shall learn, and how to read the file."""

    name = forms.CharField(label=_("Name of the dataset"), max_length=120)
    task_type = forms.ChoiceField(label=_("What shall the model learn?"), required=False, choices=TaskType.choices)
    idempotency_key = forms.CharField(widget=forms.HiddenInput, required=False, max_length=100)


class AppendForm(ReadingForm):
    """One more file for a dataset that is there."""

    idempotency_key = forms.CharField(widget=forms.HiddenInput, required=False, max_length=100)


class SettingsForm(StyledForm):
    """How the rows of a dataset are checked."""

    task_type = forms.ChoiceField(label=_("What shall the model learn?"), required=False, choices=TaskType.choices)
    base_model = forms.ChoiceField(
        label=_("Count tokens as this base model does"),
        required=False,
        help_text=_("Without one, the length in tokens is an estimate."),
    )
    context_tokens = forms.IntegerField(
        label=_("Longest row, in tokens"),
        required=False,
        min_value=16,
        max_value=LARGEST_CONTEXT,
        help_text=_("Empty means 4,096."),
    )
    over_length = forms.ChoiceField(label=_("Rows that are longer"), required=False, choices=list(OVER_LENGTH.items()))
    idempotency_key = forms.CharField(widget=forms.HiddenInput, required=False, max_length=100)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["base_model"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", _("– estimate –")), *((known.key, known.name) for known in tokenizers_here())]

    @property
    def settings(self) -> dict[str, Any]:
        """As ``recheck_dataset`` takes them."""
        data = self.cleaned_data
        return {
            "task_type": data.get("task_type") or TaskType.AUTO,
            "over_length": data.get("over_length") or "keep",
            "base_model": data.get("base_model") or "",
            "context_tokens": data.get("context_tokens"),
        }


def guessed_values(look: FirstLook, name: str, chosen: dict[str, Any] | None = None) -> dict[str, Any]:
    """The form's first values: what the file seems to be, or what was ``chosen`` for an earlier one."""
    kept = chosen or {}
    mapping = kept.get("mapping") or look.mapping or {}
    values: dict[str, Any] = {part: mapping.get(part) or "" for part in _PARTS if part not in _SEVERAL}
    stem = name.rsplit("/", 1)[-1].split(".")[0].replace("_", " ").replace("-", " ").strip()
    return values | {
        "name": stem or name,
        "format": kept.get("format") or "auto",
        "task_type": kept.get("task_type") or "auto",
        "prompt": [] if mapping.get("prompt_template") else _listed(mapping.get("prompt")),
        "prompt_template": mapping.get("prompt_template") or "",
        "metadata": _listed((kept.get("mapping") or {}).get("metadata")),
        "lists": _listed(mapping.get("lists")),
    }


def _listed(value: Any) -> list[str]:
    if not value:
        return []
    return [value] if isinstance(value, str) else list(value)
