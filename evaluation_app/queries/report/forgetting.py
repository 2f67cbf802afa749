"""What a model knew before training, and whether it still does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from evaluation_app.queries.report.blocks import (
    Block,
    CaseCard,
    CaseCards,
    Cell,
    Column,
    Mark,
    Row,
    Section,
    Table,
)
from evaluation_app.queries.report.findings import findings_of
from evaluation_app.queries.report.reading import Reading
from evaluation_app.queries.report.words import range_words, share_words
from web_kit.wording import NOTHING, number_words

MOST_EXAMPLES = 4


def forgetting_section(at: Reading) -> Section | None:
    """General abilities before and after training; None where the suite was not run."""
    found = at.part("capabilities")
    if not found:
        return None
    blocks: list[Block] = [notes] if (notes := findings_of(at, "capabilities")) else []
    probes = list(found.get("probes") or ())
    if probes:
        blocks.append(_probe_table(at, probes))
    text = found.get("general_text")
    if text:
        blocks.append(_text_table(text))
    examples = [
        CaseCard(
            heading=str(example.get("probe") or "").replace("_", " "),
            prompt=str(example.get("question") or ""),
            parts=[
                (_("Before training"), str(example.get("base_answer") or "")),
                (_("After training"), str(example.get("tuned_answer") or "")),
            ],
        )
        for example in list(found.get("examples") or ())[: 2 * MOST_EXAMPLES]
    ]
    if examples:
        blocks.append(CaseCards(examples, title=_("The same question before and after"), is_folded=True))
    return Section(
        key="forgetting",
        title=_("What has it forgotten?"),
        sentence=_(
            "Training on one task can cost abilities that the base model had. 100% kept means that nothing was lost."
        ),
        blocks=blocks,
        term="catastrophic_forgetting",
    )


def _probe_table(at: Reading, probes: list[Mapping[str, Any]]) -> Table:
    columns = [
        Column(_("Ability"), share=3.0),
        Column(_("Questions"), is_number=True),
        Column(_("By guessing"), is_number=True),
        Column(_("Before"), is_number=True),
        Column(_("After"), is_number=True),
        Column(_("Kept"), is_number=True),
        Column(_("Range"), share=1.6),
        Column(_("Result"), share=1.4),
    ]
    rows = []
    for probe in probes:
        kept, low, high = probe.get("retention"), probe.get("ci_low"), probe.get("ci_high")
        name = str(probe.get("probe") or "").replace("_", " ")
        if not probe.get("measurable"):
            result = Cell(_("not measurable"), tone="idle")
        else:
            result = Cell(_("forgotten"), tone="bad") if probe.get("is_finding") else Cell(_("kept"), tone="ok")
        mark = None if kept is None else Mark(kept, low, high, 0.0, 1.5, 0.9, label=f"{name}: {share_words(kept, 0)}")
        cells = [
            Cell(name, note=str(probe.get("sentence") or probe.get("reason") or ""), is_strong=True),
            Cell(number_words(probe.get("n"))),
            Cell(share_words(probe.get("chance"), 0)),
            Cell(share_words(probe.get("base"))),
            Cell(share_words(probe.get("tuned"))),
            Cell(share_words(kept, 0)),
            Cell(range_words(low, high, 0), mark=mark),
            result,
        ]
        rows.append(Row(cells, is_small=not probe.get("measurable")))
    return Table(columns, rows, title=_("Questions with several answers to choose from"))


def _text_table(text: Mapping[str, Any]) -> Table:
    change = text.get("change")
    if text.get("measurable") is False:
        result = Cell(_("not measurable"), tone="idle", note=str(text.get("reason") or ""))
    else:
        result = Cell(_("worse"), tone="warn") if text.get("is_finding") else Cell(_("kept"), tone="ok")
    columns = [
        Column(_("What"), share=2.2),
        Column(_("Before"), is_number=True),
        Column(_("After"), is_number=True),
        Column(_("Change"), is_number=True),
        Column(_("Result"), share=1.4),
    ]
    row = Row(
        [
            Cell(_("Surprise at ordinary text (lower is better)"), note=str(text.get("unit") or ""), is_strong=True),
            Cell(number_words(text.get("base"), 3)),
            Cell(number_words(text.get("tuned"), 3)),
            Cell(NOTHING if change is None else f"{'+' if change > 0 else ''}{share_words(change)}"),
            result,
        ]
    )
    return Table(columns, [row])
