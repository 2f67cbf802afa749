"""Where the model is good and where it is not: slices, and failures that look alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from evaluation_app.choices import metric_words
from evaluation_app.queries.report.blocks import Block, CaseCard, CaseCards, Cell, Column, Mark, Row, Section, Table
from evaluation_app.queries.report.reading import Reading
from evaluation_app.queries.report.words import value_words
from web_kit.wording import number_words

MOST_ROWS_NAMED = 12


def by_words(by: str) -> str:
    """What a slice is cut by, in plain words."""
    names = {"length": _("Length of the question"), "topic": _("Topic")}
    return names.get(by) or _("Column “%(name)s”") % {"name": by.removeprefix("metadata:")}


def slices_section(at: Reading) -> Section | None:
    """The headline figure within parts of the cases; None where there are none."""
    slices = list(at.part("slices") or ())
    if not slices:
        return None
    words = metric_words(str(at.report.get("headline") or ""))
    blocks: list[Block] = []
    for by in dict.fromkeys(str(one.get("by")) for one in slices):
        rows = [_slice_row(one, words) for one in slices if str(one.get("by")) == by]
        columns = [
            Column(_("Part"), share=1.8),
            Column(_("Cases"), is_number=True),
            Column(_("This model"), is_number=True),
            Column(_("Range"), share=2.0),
            Column(at.against_name or _("Compared with"), is_number=True, share=1.4),
        ]
        blocks.append(Table(columns, rows, title=by_words(by)))
    return Section(
        key="slices",
        title=_("Where is it good, and where not?"),
        sentence=_("The headline figure within parts of the test cases. Grey: too few cases to say much."),
        blocks=blocks,
        term="slice",
    )


def _slice_row(one: Mapping[str, Any], words: Any) -> Row:
    mine, other = one.get("subject") or {}, one.get("against") or {}
    value, low, high = mine.get("value"), mine.get("ci_low"), mine.get("ci_high")
    top = words.high if words.high is not None else max(1.0, float(value or 0) * 1.2)
    is_small = bool(one.get("is_small"))
    scale = _("%(low)s to %(high)s") % {"low": value_words(low, words), "high": value_words(high, words)}
    mark = Mark(
        value, low, high, words.low, top, reference=other.get("value"), is_muted=is_small, label=str(one.get("value"))
    )
    cells = [
        Cell(str(one.get("value")), note=_("few cases") if is_small else "", is_user=True, is_strong=not is_small),
        Cell(number_words(one.get("n"))),
        Cell(value_words(value, words)),
        Cell("" if low is None else scale, mark=mark),
        Cell(value_words(other.get("value"), words)),
    ]
    return Row(cells, is_small=is_small)


def clusters_section(at: Reading) -> Section | None:
    """Wrong answers that look alike, the largest heap first; None without any."""
    clusters = sorted(at.part("clusters") or (), key=lambda one: -int(one.get("size") or 0))
    if not clusters:
        return None
    cards = []
    for cluster in clusters:
        example, rows = cluster.get("example") or {}, list(cluster.get("rows") or ())
        size = int(cluster.get("size") or len(rows))
        count = ngettext("%(n)s case", "%(n)s cases", size) % {"n": size}
        named = ", ".join(str(row) for row in rows[:MOST_ROWS_NAMED]) + (" …" if len(rows) > MOST_ROWS_NAMED else "")
        parts = [
            (_("Expected"), str(example.get("reference") or "")),
            (_("Answer"), str(example.get("answer") or "")),
            (_("Words in common"), ", ".join(str(term) for term in cluster.get("terms") or ())),
            (_("Rows"), named),
        ]
        title = str(cluster.get("title") or _("Failures that look alike"))
        cards.append(CaseCard(f"{title} · {count}", str(example.get("prompt") or ""), [p for p in parts if p[1]]))
    return Section(
        key="clusters",
        title=_("Mistakes that look alike"),
        sentence=_("Wrong answers in heaps, each with one example. More training rows like these help most."),
        blocks=[CaseCards(cards)],
        term="failure_cluster",
    )
