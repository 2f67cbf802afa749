"""The forms in which cases are written that no later model may get wrong."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from evaluation_app.operations.regressions import NewCase
from web_kit.forms import StyledForm

LONGEST_PASTE = 2_000_000


class CaseForm(StyledForm):
    """One case, written by hand."""

    question = forms.CharField(label=_("Question"), max_length=20_000, widget=forms.Textarea(attrs={"rows": 4}))
    expected = forms.CharField(
        label=_("Right answer"),
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("The model passes when it answers this, but for case and punctuation."),
    )
    note = forms.CharField(
        label=_("Why it matters"), max_length=300, required=False, help_text=_("For whoever looks at it in a year.")
    )

    def cases(self) -> list[NewCase]:
        """The one case."""
        data = self.cleaned_data
        messages = [{"role": "user", "content": data["question"].strip()}]
        return [NewCase(messages, data["expected"], data["note"], {"kind": "form"})]


class PasteForm(StyledForm):
    """Many cases at once: a table copied from a spreadsheet, or JSON lines."""

    text = forms.CharField(
        label=_("Many at once"),
        max_length=LONGEST_PASTE,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
        help_text=_(
            "Copy two columns from a spreadsheet, question and right answer (a third is the note); or one JSON object "
            'per line: {"question": "…", "expected": "…", "note": "…"}.'
        ),
    )

    def clean_text(self) -> list[NewCase]:
        """The cases; the error names the line that cannot be read."""
        cases = []
        for number, line in enumerate(self.cleaned_data["text"].splitlines(), start=1):
            if line.strip():
                cases.append(_case_of(line, number))
        return cases

    def cases(self) -> list[NewCase]:
        """What was pasted, in its order."""
        found: list[NewCase] = self.cleaned_data["text"]
        return found


def _case_of(line: str, number: int) -> NewCase:
    told = _object_of(line, number) if line.lstrip().startswith("{") else _columns_of(line)
    question, expected, note = (str(told.get(name) or "").strip() for name in ("question", "expected", "note"))
    if not question or not expected:
        raise forms.ValidationError(
            _("Line %(n)s has no question with a right answer: put a tab between the two, or write JSON."),
            params={"n": number},
        )
    return NewCase([{"role": "user", "content": question}], expected, note[:300], {"kind": "paste"})


def _columns_of(line: str) -> dict[str, Any]:
    return dict(zip(("question", "expected", "note"), line.split("\t"), strict=False))


def _object_of(line: str, number: int) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise forms.ValidationError(_("Line %(n)s is not JSON."), params={"n": number}) from error
    return told if isinstance(told, dict) else {}
