"""Mending rejected rows: another text, the same checks again, and the row is accepted or keeps its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts_app.permissions import Actor
from datasets_app.chunks import row_texts
from datasets_app.models import Dataset, Example
from datasets_app.operations.decisions import edit_example
from datasets_app.queries.rows import visible
from datasets_app.row_messages import with_texts
from finetune_engine.data.codes import CODES
from finetune_engine.data.records import Finding
from finetune_engine.errors import Place, UserError

MOST_ROWS = 200  # rows that one paste may fill


@dataclass(frozen=True)
class NewText:
    """What a person wrote for one row; None leaves the part as it is."""

    row: int
    prompt: str | None = None
    answer: str | None = None


@dataclass(frozen=True)
class Mended:
    """A row after the attempt. ``error`` says why it was not accepted, and ``part`` which part of the row it is about;
    ``notes`` say what the checks noticed besides."""

    row: int
    error: str = ""
    part: str | None = None
    notes: list[str] = field(default_factory=list)


def mend_row(
    *, actor: Actor, dataset: Dataset, example: Example, prompt: str | None = None, answer: str | None = None
) -> list[str]:
    """Give a row another input and/or answer (of a classification: label) and accept it if the checks find nothing that
    would reject it again. Returns what they noticed besides, in sentences.

    Raises UserError with the checks' own sentence, and the row stays as it was.
    """
    text = row_texts(dataset, [example])[example.row]
    current = text.messages if example.edited_messages is None else example.edited_messages
    messages = with_texts(list(current), prompt, answer)
    findings = _checked(dataset, example, messages, text.rejected)
    fatal = next((one for one in findings if _status(one) == "rejected"), None)
    if fatal is not None:
        place = Place(row=example.row, column=fatal.column, found=fatal.found, expected=fatal.expected, fix=fatal.fix)
        raise UserError(fatal.code, fatal.message, field=_field(fatal), place=place)
    edit_example(actor=actor, dataset=dataset, example=example, messages=messages)
    return [one.message for one in findings]


def mend_rows(*, actor: Actor, dataset: Dataset, texts: Sequence[NewText]) -> list[Mended]:
    """Mend several rows, each by itself: one that cannot be accepted does not stop the others. In the order given.

    Raises UserError for more than ``MOST_ROWS`` rows, for none, and for a row given twice.
    """
    if not texts:
        raise UserError("nothing_to_mend", _("There is no row with a new text."), field="rows")
    if len(texts) > MOST_ROWS:
        raise UserError(
            "too_many_rows",
            _("%(n)s rows at once are the most. For more, download the rejected rows and upload them mended.")
            % {"n": MOST_ROWS},
            field="rows",
        )
    numbers = [text.row for text in texts]
    if twice := next((row for row in numbers if numbers.count(row) > 1), None):
        raise UserError("row_twice", _("Row %(n)s is given twice.") % {"n": twice}, field="rows")
    found = {example.row: example for example in visible(dataset).filter(row__in=numbers)}
    return [_mend_one(actor, dataset, found.get(text.row), text) for text in texts]


def _mend_one(actor: Actor, dataset: Dataset, example: Example | None, text: NewText) -> Mended:
    if example is None:
        return Mended(text.row, error=_("This dataset has no row %(n)s.") % {"n": text.row}, part="row")
    try:
        notes = mend_row(actor=actor, dataset=dataset, example=example, prompt=text.prompt, answer=text.answer)
    except UserError as error:
        return Mended(text.row, error=error.sentence, part=error.field)
    return Mended(text.row, notes=notes)


def summary(results: Sequence[Mended]) -> str:
    """How a paste went, in one sentence."""
    done = sum(not one.error for one in results)
    sentence = ngettext("%(n)s row was mended and accepted.", "%(n)s rows were mended and accepted.", done) % {
        "n": done
    }
    left = len(results) - done
    if left:
        more = ngettext("%(n)s still needs something:", "%(n)s still need something:", left) % {"n": left}
        sentence = f"{sentence} {more} {' '.join(one.error for one in results if one.error)}"[:1_500]
    return sentence


def _checked(
    dataset: Dataset, example: Example, messages: list[dict[str, Any]], rejected: list[dict[str, Any]] | None
) -> list[Finding]:
    from finetune_engine.data.validation import check_messages

    return check_messages(
        messages,
        task_type=dataset.task_type,
        rejected=rejected or None,
        row=example.row,
        is_plain_text=dataset.is_plain_text,
    )


def _status(finding: Finding) -> str:
    known = CODES.get(finding.code)
    return known.status if known else "flagged"


def _field(finding: Finding) -> str | None:
    column = finding.column or ""
    if column == "prompt" or finding.code == "empty_input":
        return "prompt"
    is_answer = column == "answer" or finding.code in {"empty_answer", "example_missing_assistant_message"}
    return "answer" if is_answer else "messages"
