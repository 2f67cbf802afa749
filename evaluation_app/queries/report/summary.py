"""The top of the report: the headline plot, the score over all suites, and the figures as tables for print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from evaluation_app.choices import SMALL_SAMPLE, metric_words
from evaluation_app.queries.report.blocks import (
    Block,
    CaseCard,
    CaseCards,
    Cell,
    Column,
    Facts,
    Forest,
    ForestRow,
    Mark,
    Note,
    Notes,
    Row,
    Section,
    Table,
)
from evaluation_app.queries.report.figures import CaseGroup, ClassRow, ConfusionView, MetricRow
from evaluation_app.queries.report.origin import suite_words
from evaluation_app.queries.report.reading import Reading
from evaluation_app.queries.report.words import share_words
from web_kit.wording import NOTHING, number_words

if TYPE_CHECKING:
    from evaluation_app.queries.report.whole import WholeReport

WIDEST_MATRIX = 12


def headline_plot(rows: Sequence[MetricRow]) -> Forest | None:
    """The metric that decides, all models below one another; None without one."""
    row = next((row for row in rows if row.is_headline), None)
    cells = [cell for cell in row.cells if cell.value is not None] if row else []
    if row is None or not cells:
        return None
    forest = [
        ForestRow(
            cell.contender.name,
            f"{cell.words} {cell.interval_words}".strip(),
            Mark(cell.value, cell.ci_low, cell.ci_high, cell.low, cell.high, is_muted=cell.contender.is_muted),
        )
        for cell in cells
    ]
    label = f"{row.plain}. " + "; ".join(f"{one.name}: {one.words}" for one in forest)
    unit = metric_words(row.metric).unit
    return Forest(forest, label, cells[0].low, cells[0].high, unit, title=str(row.plain))


def key_figures(whole: WholeReport) -> list[tuple[str, str, str]]:
    """The four figures of the cover: name, value, note."""
    found: list[tuple[str, str, str]] = []
    row = next((row for row in whole.view.rows if row.is_headline), None)
    if row:
        mine = next((cell for cell in row.cells if cell.contender.kind == "tuned"), None)
        other = next((cell for cell in row.cells if cell.contender.kind == "base"), None)
        if mine:
            before = _("%(value)s before") if whole.at.is_before_and_after else _("%(value)s by %(other)s")
            told = {"value": other.words, "other": whole.at.against_name} if other else {}
            found.append((row.plain, mine.words, before % told if told else mine.interval_words))
    overall = whole.at.part("overall_score") or {}
    if isinstance(overall, dict) and overall.get("value") is not None:
        value = _("%(n)s of 100") % {"n": number_words(100 * overall["value"], 0)}
        found.append((_("All in one figure"), value, _("it decides nothing")))
    rules = [rule for rule in whole.at.part("acceptance") or () if rule.get("n")]
    if rules:
        kept = sum((rule.get("passed") or 0) >= (rule.get("n") or 0) for rule in rules)
        found.append((_("Acceptance rules kept"), f"{kept} / {len(rules)}", _("none is made up for")))
    human = whole.human
    if human is None:
        found.append((_("People"), _("not reviewed"), _("no closed blind review")))
    elif human.get("win_rate") is not None:
        note = _("of %(n)s decisive cases") % {"n": human.get("decisive")}
        found.append((_("Preferred by people"), share_words(human["win_rate"], 0), note))
    else:
        found.append((_("People"), _("reviewed"), str(human.get("sentence") or "")))
    return found


def overall_section(at: Reading) -> Section | None:
    """The score over all suites with its weights; None in reports of the first version."""
    found = at.part("overall_score")
    if not isinstance(found, dict):
        return None
    rows = []
    for part in found.get("parts") or ():
        score = part.get("score")
        label = suite_words(str(part.get("suite")))
        mark = None if score is None else Mark(score, label=f"{label}: {share_words(score, 0)}")
        cells = [
            Cell(label, note=str(part.get("reason") or ""), is_strong=True),
            Cell(NOTHING if score is None else number_words(100 * score, 0)),
            Cell("", mark=mark),
            Cell(share_words(part.get("weight"), 0)),
        ]
        rows.append(Row(cells, is_small=score is None or not part.get("weight")))
    columns = [
        Column(_("Part"), share=3.0),
        Column(_("Score of 100"), is_number=True),
        Column(_("Drawn"), share=2.0),
        Column(_("Counts"), is_number=True),
    ]
    value = found.get("value")
    words = str(found.get("reason") or "") if value is None else _("%(n)s of 100") % {"n": number_words(100 * value, 0)}
    blocks: list[Block] = []
    if failed := found.get("failed_rules"):
        told = _("A score never makes up for a broken rule: %(names)s.") % {
            "names": ", ".join(f"“{name}”" for name in failed)
        }
        blocks.append(Notes([Note("bad", told, is_user=True)]))
    if left := found.get("left_out"):
        names = ", ".join(suite_words(str(suite)) for suite in left)
        blocks.append(Notes([Note("", _("Not measured, so the others count for more: %(names)s.") % {"names": names})]))
    blocks.append(Table(columns, rows))
    sentence = _("A summary with weights that you can change when you start an evaluation. It decides nothing.")
    return Section("overall", _("All in one figure"), sentence, blocks, "overall_score", words, "idle")


def figures_section(rows: Sequence[MetricRow]) -> Section:
    """Every metric of every model, as one table for each metric."""
    blocks: list[Block] = []
    for row in rows:
        lines = [
            Row(
                [
                    Cell(
                        cell.contender.name,
                        note=cell.contender.role,
                        is_user=True,
                        is_strong=not cell.contender.is_muted,
                    ),
                    Cell(cell.words, note=_("best") if cell.is_best else "", is_strong=cell.is_best),
                    Cell(
                        cell.interval_words.strip("()"),
                        mark=Mark(
                            cell.value,
                            cell.ci_low,
                            cell.ci_high,
                            cell.low,
                            cell.high,
                            row.reference,
                            cell.contender.is_muted,
                            cell.label,
                        ),
                    ),
                ],
                is_small=cell.is_small,
            )
            for cell in row.cells
            if cell.value is not None
        ]
        columns = [Column(_("Who"), share=2.4), Column(_("Value"), is_number=True), Column(_("Range"), share=2.4)]
        decides = f" · {_('decides')}" if row.is_headline else ""
        blocks.append(Table(columns, lines, title=f"{row.plain} ({row.term}){decides}", note=row.difference))
    sentence = _("The measured value and the range in which the true value probably lies (95%).")
    return Section("figures", _("The figures"), sentence, blocks)


def classes_section(classes: Sequence[ClassRow], confusion: ConfusionView | None) -> Section | None:
    """Label by label, and what is mistaken for what."""
    if not classes:
        return None
    columns = [
        Column(_("Label"), share=2.4),
        Column(_("Cases"), is_number=True),
        Column(_("Precision"), is_number=True),
        Column(_("Recall"), is_number=True),
        Column("F1", is_number=True),
        Column(_("F1 of the other"), is_number=True),
    ]
    rows = [
        Row(
            [
                Cell(row.label, is_user=True, is_strong=True),
                Cell(number_words(row.support)),
                Cell(share_words(row.precision)),
                Cell(share_words(row.recall)),
                Cell(share_words(row.f1)),
                Cell(share_words(row.base_f1)),
            ],
            is_small=row.is_small,
        )
        for row in classes
    ]
    blocks: list[Block] = [Table(columns, rows)]
    if confusion:
        blocks.append(
            Notes([Note("", words, is_user=True) for words in confusion.sentences], _("Most frequent mistakes"))
        )
        if len(confusion.labels) <= WIDEST_MATRIX:
            blocks.append(_matrix(confusion))
    return Section("classes", _("Class by class"), _("How the model judged does on each label."), blocks)


def _matrix(confusion: ConfusionView) -> Table:
    columns = [Column(_("Expected \\ answered"), share=2.2)]
    columns += [Column(label, is_number=True) for label in confusion.labels]
    rows = []
    for label, counts in zip(confusion.labels, confusion.matrix, strict=False):
        cells = [
            Cell(number_words(n) if n else "·", is_strong=confusion.labels[j] == label) for j, n in enumerate(counts)
        ]
        rows.append(Row([Cell(label, is_user=True, is_strong=True), *cells]))
    return Table(columns, rows, title=_("What is mistaken for what"))


def cases_section(at: Reading, groups: Sequence[CaseGroup]) -> Section | None:
    """The most improved, the most worsened and the hardest cases."""
    blocks = [
        CaseCards([_case(at, case) for case in group.cases], title=group.heading, note=group.sentence)
        for group in groups
    ]
    if not blocks:
        return None
    return Section(
        "cases", _("Best and worst cases"), _("A few of the cases, as they were asked and answered."), blocks
    )


def _case(at: Reading, case: Any) -> CaseCard:
    parts = [(_("Expected"), str(case.get("reference") or ""))]
    for name, key in ((at.against_name or _("Before training"), "base_answer"), (at.name, "tuned_answer")):
        if case.get(key) is not None:
            parts.append((name, str(case[key]) or _("(empty)")))
    return CaseCard(_("Row %(row)s") % {"row": case.get("row")}, str(case.get("prompt") or ""), parts)


def run_section(lines: Sequence[tuple[str, str]]) -> Section:
    """How it was measured, to repeat it exactly."""
    facts = Facts(list(lines), is_mono=True)
    return Section("run", _("How this was measured"), _("Settings, versions and fingerprints."), [facts])


def small_sample_note(n: int) -> str:
    """A warning for very few cases; empty otherwise."""
    if n >= SMALL_SAMPLE:
        return ""
    return _("Only %(n)s cases: the figures below may be far off. More test cases make them firmer.") % {"n": n}
