"""The model card: what the model is for, what it was made of, how good it is, and what is not known (Mitchell et al. 2019)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from django.utils import formats, timezone
from django.utils.translation import gettext as _

from evaluation_app.queries.report.blocks import Block, Facts, Notes, Section, Table
from evaluation_app.queries.report.whole import WholeReport

_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~])")
PARTS = ("figures", "classes", "rules", "robustness", "fairness", "forgetting", "people", "worth")


def model_card(whole: WholeReport) -> str:
    """Markdown. Texts of people and models are escaped, so that they are never markup."""
    card, model = whole.card, whole.evaluation.trained_model
    day = formats.date_format(timezone.localtime(whole.finished_at), "DATE_FORMAT")
    out = [f"# {_plain(model.name)}", "", f"**{_plain(card.verdict_label)}.** {_plain(card.sentence)}", ""]
    out += [f"## {_('What it is')}", ""]
    out += _list([(_("Model"), model.api_name), (_("Base model"), model.base_model_key), (_("Judged"), day)])
    out += ["", f"## {_('What it may be used for')}", "", _use(whole), ""]
    for key in ("lineage",):
        out += _section(whole.section(key))
    for key in PARTS:
        out += _section(whole.section(key))
    out += _section(whole.section("limitations"))
    out += [f"## {_('Sign-off')}", "", *_signatures(whole), ""]
    out += [f"{_('Fingerprint of the report')}: `{whole.sha256}`", ""]
    return "\n".join(out)


def _use(whole: WholeReport) -> str:
    signed = whole.signature
    task = _("For cases like those of “%(data)s”: the part on which it was judged is the only use that was measured.")
    words = _plain(task % {"data": whole.evaluation.snapshot.dataset.name})
    if signed and signed.statement and signed.rests_on_this:
        return f"{words}\n\n> {_plain(signed.statement)}"
    return words


def _signatures(whole: WholeReport) -> list[str]:
    if not whole.signatures:
        return [_("Nobody has signed for this model.")]
    return [
        f"- {_plain(one.signed_by)}, {formats.date_format(timezone.localtime(one.signed_at), 'DATE_FORMAT')}"
        + "".join(f" ({words})" for words in (one.rests_on, "" if one.is_valid else _("withdrawn")) if words)
        for one in whole.signatures
    ]


def _section(section: Section | None) -> list[str]:
    if section is None:
        return []
    out = [f"## {_plain(section.title)}", ""]
    if section.sentence:
        out += [_plain(section.sentence), ""]
    for block in section.blocks:
        out += _block(block)
    return out


def _block(block: Block) -> list[str]:
    title = getattr(block, "title", "")
    out = [f"### {_plain(title)}", ""] if title else []
    if isinstance(block, Notes):
        return [*out, *(f"- {_plain(note.text)}" for note in block.items), ""]
    if isinstance(block, Facts):
        return [*out, *_list(block.items), ""]
    if isinstance(block, Table):
        return [*out, *_table(block), ""]
    return []


def _list(items: Sequence[tuple[str, str]]) -> list[str]:
    return [f"- {_plain(name)}: {_plain(str(value))}" for name, value in items]


def _table(table: Table) -> list[str]:
    head = [_plain(column.label) for column in table.columns]
    rule = ["---:" if column.is_number else "---" for column in table.columns]
    rows = [
        [
            " ".join(filter(None, (_plain(cell.text), f"({_plain(cell.note)})" if cell.note else "")))
            for cell in row.cells
        ]
        for row in table.rows
    ]
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, rule, *rows]]
    return [*lines, "", _plain(table.note)] if table.note else lines


def _plain(text: str) -> str:
    """On one line, with every mark of Markdown escaped."""
    return _MARKS.sub(r"\\\1", " ".join(str(text).split()))
