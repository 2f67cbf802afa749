"""Forms of human review: starting one, and inviting somebody from outside."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from evaluation_app.choices import DEFAULT_RUBRIC, ReviewKind
from evaluation_app.operations.review_links import LINK_DAYS, MOST_DAYS
from evaluation_app.operations.reviews import HARDEST_SIZE, MOST_ITEMS, MOST_RATERS, SAMPLE_SIZE
from finetune_engine.errors import UserError
from web_kit.forms import StyledForm


class ReviewForm(StyledForm):
    """What is looked at, how many cases, and by how many people each. The cases are drawn when it is sent."""

    name = forms.CharField(label=_("Title"), max_length=120, required=False, help_text=_("Reviewers see it."))
    kind = forms.ChoiceField(label=_("What reviewers do"), choices=ReviewKind.choices, initial=ReviewKind.PAIRS)
    first = forms.ChoiceField(label=_("Whose answers"))
    second = forms.ChoiceField(
        label=_("Beside which other model"), required=False, help_text=_("Only where two answers are compared.")
    )
    size = forms.IntegerField(label=_("How many cases"), min_value=1, max_value=MOST_ITEMS, initial=SAMPLE_SIZE)
    stratify_by = forms.ChoiceField(
        label=_("Share them out by"), required=False, help_text=_("So that each group is there in its proportion.")
    )
    hardest = forms.IntegerField(
        label=_("And how many of the hardest"),
        min_value=0,
        max_value=MOST_ITEMS,
        initial=HARDEST_SIZE,
        help_text=_("Looked at as well, and never counted in the headline."),
    )
    raters_per_item = forms.IntegerField(
        label=_("How many people judge each case"),
        min_value=1,
        max_value=MOST_RATERS,
        initial=1,
        help_text=_("With two or more you see how far they agree."),
    )
    instructions = forms.CharField(
        label=_("Instructions for the reviewers"),
        required=False,
        max_length=4_000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("What matters, in your words. Name no model."),
    )
    rubric = forms.CharField(
        label=_("Questions for marks from 1 to 5"),
        required=False,
        max_length=4_000,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text=_(
            "One question to a line, with words for 1, 3 and 5 after bars, such as: Is it polite? | rude | neutral | warm"
        ),
    )
    idempotency_key = forms.CharField(required=False, max_length=60, widget=forms.HiddenInput)
    terms: ClassVar[dict[str, str]] = {
        "kind": "blind_review",
        "stratify_by": "stratum",
        "raters_per_item": "rater_agreement",
    }

    def __init__(self, *args: Any, models: dict[str, str], subject: str, strata: dict[str, int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = {key: name for key, name in models.items() if key != subject}
        self.fields["first"].choices = [(subject, models.get(subject, subject)), *others.items()]  # type: ignore[attr-defined]
        self.fields["second"].choices = [*others.items(), (subject, models.get(subject, subject))]  # type: ignore[attr-defined]
        named = [(name, f"{name.removeprefix('metadata:')} ({count})") for name, count in strata.items()]
        self.fields["stratify_by"].choices = [("", gettext("nothing: purely at random")), *named]  # type: ignore[attr-defined]
        self.fields["rubric"].initial = rubric_lines()

    def wishes(self) -> dict[str, Any]:
        """The arguments of ``start_review``. Raises UserError for questions that cannot be read."""
        data = self.cleaned_data
        keys = [data["first"]]
        if data["kind"] == ReviewKind.PAIRS:
            keys.append(data["second"])
        return {
            "kind": data["kind"],
            "keys": keys,
            "size": data["size"],
            "stratify_by": data["stratify_by"] or None,
            "hardest": data["hardest"],
            "raters_per_item": data["raters_per_item"],
            "rubric": read_rubric(data["rubric"]) if data["kind"] == ReviewKind.RUBRIC else None,
            "instructions": data["instructions"],
            "name": data["name"],
            "idempotency_key": data["idempotency_key"] or None,
        }


class ReviewerForm(StyledForm):
    """A link for somebody from outside."""

    name = forms.CharField(label=_("Who is it for"), max_length=120, help_text=_("Their votes go under this name."))
    email = forms.EmailField(label=_("Their e-mail address"), required=False, help_text=_("For your own records."))
    days = forms.IntegerField(label=_("Valid for how many days"), min_value=1, max_value=MOST_DAYS, initial=LINK_DAYS)


def rubric_lines() -> str:
    """The usual questions as the form shows them."""
    return "\n".join(
        " | ".join([str(question), str(anchors[1]), str(anchors[3]), str(anchors[5])])
        for question, anchors in DEFAULT_RUBRIC.values()
    )


def read_rubric(text: str) -> list[dict[str, Any]] | None:
    """``[{question, anchors}]`` from lines; None (the usual questions) for no line and for the unchanged ones. Raises
    UserError for a line with more words than marks."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or lines == rubric_lines().splitlines():
        return None
    out = []
    for line in lines:
        question, *words = [part.strip() for part in line.split("|")]
        if len(words) not in {0, 2, 3, 5}:
            sentence = _("Write two words (for 1 and 5), three (for 1, 3 and 5) or five after the question: %(line)s")
            raise UserError("bad_rubric", str(sentence) % {"line": line[:80]}, field="rubric")
        marks = {0: (), 2: (1, 5), 3: (1, 3, 5), 5: (1, 2, 3, 4, 5)}[len(words)]
        out.append(
            {"question": question, "anchors": {str(mark): word for mark, word in zip(marks, words, strict=True)}}
        )
    return out
