"""The forms in which an expert says what every answer must be like, one for each kind of demand."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _

from evaluation_app.choices import RuleKind
from evaluation_app.queries.rule_words import rule_words
from finetune_engine.errors import UserError
from finetune_engine.evaluate.rules import Rule, rule_of
from web_kit.forms import StyledForm

LONGEST_NAME = 120
_TRY = ("question", "answer")


class LinesField(forms.CharField):
    """One text per line; empty lines are no texts."""

    def __init__(self, *, rows: int = 4, **kwargs: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": rows, "spellcheck": "false"}), strip=False, **kwargs)

    def clean(self, value: Any) -> list[str]:
        """The lines without the blanks around them."""
        text = super().clean(value) or ""
        return [line.strip() for line in text.splitlines() if line.strip()]

    def prepare_value(self, value: Any) -> Any:
        """A list of texts as lines."""
        return "\n".join(value) if isinstance(value, list | tuple) else value


class RuleForm(StyledForm):
    """What all rules have: a name, and an answer to try it on. Fields between are the demand's own."""

    kind: ClassVar[RuleKind]
    name = forms.CharField(
        label=_("Name"),
        max_length=LONGEST_NAME,
        required=False,
        help_text=_("How reports call it. Empty: the rule in words."),
    )
    question = forms.CharField(label=_("Question"), required=False, widget=forms.Textarea(attrs={"rows": 2}))
    answer = forms.CharField(
        label=_("An answer to try it on"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("Paste any answer. Nothing of this is kept."),
    )

    def demand(self) -> dict[str, Any]:
        """The demand as it was filled in, to be checked by the engine."""
        return {name: self.cleaned_data[name] for name in self.fields if name not in {"name", *_TRY}}

    def rule(self) -> Rule:
        """The checked rule; without a name it is called by its own words. Raises UserError naming the field."""
        rule = rule_of({"id": "", "name": "-", "kind": self.kind, "demand": self.demand()})
        name = self.cleaned_data["name"].strip() or rule_words(rule.kind, rule.demand)[:LONGEST_NAME]
        return Rule(rule.id, name, rule.kind, rule.demand)

    def checked(self) -> Rule | None:
        """The rule when the form is right; else None, and the mistake stands beside its field."""
        if not self.is_valid():
            return None
        try:
            return self.rule()
        except UserError as error:
            self.add_user_error(error)
            return None

    @property
    def own_fields(self) -> list[forms.BoundField]:
        """The fields of the demand, then the name."""
        return [self[name] for name in self.fields if name not in {"name", *_TRY}] + [self["name"]]

    @property
    def try_fields(self) -> list[forms.BoundField]:
        """The fields of the try-it box; a question only where the rule looks at it."""
        return [self[name] for name in (_TRY if self.kind == RuleKind.IF_THEN else ("answer",))]


def _any_case(initial: bool = True) -> forms.BooleanField:
    return forms.BooleanField(label=_("Capital and small letters are alike"), required=False, initial=initial)


class _Choice(forms.TypedChoiceField):
    def __init__(self, label: Any, all_words: Any, any_words: Any) -> None:
        choices = [("all", all_words), ("any", any_words)]
        super().__init__(label=label, choices=choices, coerce=lambda chosen: chosen == "all", initial="all")

    def prepare_value(self, value: Any) -> Any:
        return {True: "all", False: "any"}.get(value, value) if isinstance(value, bool) else value


class ContainsForm(RuleForm):
    """Must contain."""

    kind = RuleKind.CONTAINS
    texts = LinesField(label=_("Words or phrases"), help_text=_("One in each line."))
    all = _Choice(_("How many of them"), _("All of them"), _("At least one of them"))
    ignore_case = _any_case()


class ExcludesForm(RuleForm):
    """Must not contain."""

    kind = RuleKind.EXCLUDES
    texts = LinesField(label=_("Words or phrases that must not occur"), help_text=_("One in each line."))
    ignore_case = _any_case()


class MatchesForm(RuleForm):
    """Must match a pattern."""

    kind = RuleKind.MATCHES
    pattern = forms.CharField(
        label=_("Pattern"),
        max_length=1_000,
        strip=False,
        help_text=_(
            r"A regular expression, such as \d{4}-\d{2}-\d{2} for a date. It may stand anywhere in the answer; begin "
            "with ^ and end with $ to mean the whole."
        ),
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocapitalize": "off", "class": "mono"}),
    )
    ignore_case = _any_case(initial=False)
    terms: ClassVar[dict[str, str]] = {"pattern": "pattern"}


class AvoidsForm(MatchesForm):
    """Must not match a pattern."""

    kind = RuleKind.AVOIDS


class LengthForm(RuleForm):
    """Length."""

    kind = RuleKind.LENGTH
    least = forms.IntegerField(label=_("At least"), min_value=0, required=False, initial=1)
    most = forms.IntegerField(label=_("At most"), min_value=0, required=False, help_text=_("Empty: no limit."))
    unit = forms.ChoiceField(
        label=_("Counted in"), choices=[("words", _("words")), ("characters", _("characters"))], initial="words"
    )


class IfThenForm(RuleForm):
    """If the question mentions X, the answer must mention Y."""

    kind = RuleKind.IF_THEN
    if_mentions = LinesField(
        label=_("If the question mentions one of these"),
        rows=3,
        help_text=_("One in each line. The beginning of a word is enough: rent also finds renting, not current."),
    )
    then_mentions = LinesField(label=_("the answer must mention"), rows=3, help_text=_("One in each line."))
    all = _Choice(_("How many of them"), _("All of them"), _("At least one of them"))
    ignore_case = _any_case()


class SchemaForm(RuleForm):
    """Must be JSON of this shape."""

    kind = RuleKind.JSON_SCHEMA
    schema = forms.CharField(
        label=_("JSON Schema"),
        max_length=50_000,
        help_text=_('For example {"type": "object", "required": ["amount", "currency"]}.'),
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false", "class": "mono"}),
    )


class LabelsForm(RuleForm):
    """Must be one of these labels."""

    kind = RuleKind.LABELS
    labels = LinesField(
        label=_("Allowed labels"), rows=8, help_text=_("One in each line. The ones that your data uses are filled in.")
    )
    ignore_case = forms.BooleanField(
        label=_("Capital letters and punctuation do not matter"), required=False, initial=True
    )


RULE_FORMS: dict[str, type[RuleForm]] = {
    form.kind: form
    for form in (
        ContainsForm, ExcludesForm, MatchesForm, AvoidsForm, LengthForm, IfThenForm, SchemaForm, LabelsForm,
    )
}  # fmt: skip
