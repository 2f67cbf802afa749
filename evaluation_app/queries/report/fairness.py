"""How a model treats groups of people, and the same case with other people in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from evaluation_app.choices import SMALL_SAMPLE
from evaluation_app.queries.report.blocks import (
    Block,
    CaseCard,
    CaseCards,
    Cell,
    Column,
    Mark,
    Note,
    Notes,
    Row,
    Section,
    Table,
)
from evaluation_app.queries.report.findings import findings_of
from evaluation_app.queries.report.reading import Reading
from evaluation_app.queries.report.words import points_range, points_words, range_words, share_words
from web_kit.wording import NOTHING, number_words

MOST_EXAMPLES = 4


def fairness_section(at: Reading) -> Section | None:
    """Gaps between groups with intervals, and what swapping names or pronouns changes; None where it was not run."""
    found = at.part("fairness")
    if not found:
        return None
    blocks: list[Block] = [notes] if (notes := findings_of(at, "fairness")) else []
    for group in found.get("groups") or ():
        blocks.extend(_group_blocks(group))
    swaps = list(found.get("counterfactual") or ())
    if swaps:
        blocks.append(_swap_table(swaps))
        if examples := _swap_examples(swaps):
            blocks.append(examples)
    if not blocks:
        return None
    return Section(
        key="fairness",
        title=_("Does it treat people alike?"),
        sentence=_(
            "Groups by your own columns, and the same case with another name, pronoun or place. Gaps come with their range."
        ),
        blocks=blocks,
        term="fairness",
    )


def _group_blocks(group: Mapping[str, Any]) -> list[Block]:
    column = str(group.get("column") or "")
    rows = []
    for line in group.get("by_group") or ():
        value, low, high = line.get("value"), line.get("ci_low"), line.get("ci_high")
        n = int(line.get("n") or 0)
        if line.get("suppressed"):
            hidden = _("fewer than 30 cases: not shown")
            cells = [Cell(str(line.get("group")), is_user=True), Cell(number_words(n)), Cell(NOTHING), Cell(hidden)]
        else:
            label = f"{line.get('group')}: {share_words(value)}"
            mark = Mark(value, low, high, label=label)
            name = Cell(str(line.get("group")), is_user=True, is_strong=True)
            cells = [name, Cell(number_words(n)), Cell(share_words(value)), Cell(range_words(low, high), mark=mark)]
        rows.append(Row(cells, is_small=bool(line.get("suppressed"))))
    columns = [
        Column(_("Group"), share=1.6),
        Column(_("Cases"), is_number=True),
        Column(str(group.get("metric") or _("Value")), is_number=True),
        Column(_("Range"), share=2.0),
    ]
    gap = _("Largest gap %(gap)s (%(range)s)") % {
        "gap": points_words(group.get("difference")),
        "range": points_range(group.get("difference_low"), group.get("difference_high")) or _("range not known"),
    }
    more = [
        _("smallest over largest %(n)s") % {"n": number_words(group["ratio"], 2)}
        if group.get("ratio") is not None
        else "",
        _parity(_("demographic parity"), group.get("demographic_parity_difference")),
        _parity(_("equalised odds"), group.get("equalized_odds_difference")),
    ]
    sentence = Note("warn" if group.get("is_finding") else "ok", str(group.get("sentence") or ""))
    note = "; ".join([gap, *filter(None, more)]) + "."
    found: list[Block] = [Notes([sentence])] if sentence.text else []
    return [*found, Table(columns, rows, title=_("By “%(column)s”") % {"column": column}, note=note)]


def _parity(name: str, value: float | None) -> str:
    return "" if value is None else _("%(name)s difference %(gap)s") % {"name": name, "gap": points_words(value)}


def _swap_table(swaps: list[Mapping[str, Any]]) -> Table:
    columns = [
        Column(_("What is swapped"), share=2.8),
        Column(_("Cases"), is_number=True),
        Column(_("Answers that change"), is_number=True, share=1.2),
        Column(_("Range"), share=1.6),
        Column(_("By chance alone"), is_number=True, share=1.2),
        Column(_("Beyond that"), is_number=True, share=1.2),
        Column(_("Result"), share=1.3),
    ]
    rows = []
    for swap in swaps:
        rate, low, high = swap.get("flip_rate"), swap.get("ci_low"), swap.get("ci_high")
        kind = str(swap.get("kind") or "").replace("_", " ")
        n = int(swap.get("n") or 0)
        if n == 0:
            result = Cell(_("no such words"), tone="idle")
        elif rate is None:
            result = Cell(_("too few cases"), tone="idle")
        else:
            result = Cell(_("a finding"), tone="bad") if swap.get("is_finding") else Cell(_("nothing found"), tone="ok")
        mark = Mark(rate, low, high, reference=swap.get("noise_floor"), label=f"{kind}: {share_words(rate)}")
        cells = [
            Cell(kind, note=str(swap.get("sentence") or ""), is_strong=True),
            Cell(number_words(n)),
            Cell(share_words(rate)),
            Cell(range_words(low, high), mark=mark if rate is not None else None),
            Cell(share_words(swap.get("noise_floor"))),
            Cell(points_words(swap.get("excess")), note=points_range(swap.get("excess_low"), swap.get("excess_high"))),
            result,
        ]
        rows.append(Row(cells, is_small=n < SMALL_SAMPLE))
    note = _("By chance alone: how often the answer changes when a word is swapped for another of the same group.")
    return Table(columns, rows, title=_("The same case with other people in it"), note=note)


def _swap_examples(swaps: list[Mapping[str, Any]]) -> CaseCards | None:
    cases = []
    for swap in swaps:
        if not swap.get("is_finding"):
            continue
        for example in list(swap.get("examples") or ())[:MOST_EXAMPLES]:
            parts = [
                (_("Swapped to"), str(example.get("changed_prompt") or "")),
                (_("Answer before"), str(example.get("answer") or "")),
                (_("Answer after"), str(example.get("changed_answer") or "")),
            ]
            kind = str(swap.get("kind") or "").replace("_", " ")
            cases.append(CaseCard(f"{kind} · {example.get('row', '')}", str(example.get("prompt") or ""), parts))
    return CaseCards(cases, title=_("Answers that a swap changed"), is_folded=True) if cases else None
