"""Sections of a report on paper: headings, sentences, facts, cases."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.translation import gettext as _

from evaluation_app.exports.pdf.paper import ACCENT, INK, INK_2, INK_3, LINE, MARGIN, SOFT, Paper
from evaluation_app.exports.pdf.plots import draw_bars, draw_curve, draw_forest
from evaluation_app.exports.pdf.tables import draw_note, draw_table, least_height
from evaluation_app.queries.report.blocks import (
    Bars,
    Block,
    CaseCard,
    CaseCards,
    Curve,
    Facts,
    Forest,
    Note,
    Notes,
    Section,
    Table,
)

LABELS = 52.0
MOST_CASES = 6
MOST_LINES = 10
MOST_NOTE_LINES = 30


def draw_section(pdf: Paper, section: Section) -> None:
    """Heading, sentence and blocks; entered in the list of contents."""
    pdf.need(34)
    if pdf.get_y() > MARGIN + 6:
        pdf.set_y(pdf.get_y() + 3)
    y = pdf.get_y()
    pdf.set_fill_color(*ACCENT)
    pdf.rect(MARGIN, y + 0.6, 1.1, 5.4, style="F")
    pdf.pen(13, INK, bold=True)
    title = pdf.fitting(section.title, pdf.epw - 50)
    pdf.start_section(pdf.clean(section.title), level=0)
    pdf.set_xy(MARGIN + 3.4, y)
    pdf.cell(pdf.get_string_width(title) + 2, 6.6, title)
    if section.state:
        pdf.badge(section.state, section.tone, MARGIN + 3.4 + pdf.get_string_width(title) + 4, y + 1.1)
    pdf.set_y(y + 8)
    if section.sentence:
        pdf.pen(8.4, INK_2)
        lines = pdf.lines(section.sentence, pdf.epw)
        pdf.set_y(pdf.write_lines(lines, MARGIN, pdf.get_y(), pdf.epw, pdf.leading()) + 1.6)
    for block in section.blocks:
        draw_block(pdf, block)


def draw_block(pdf: Paper, block: Block) -> None:
    """One block with its title; nothing for an empty table."""
    if isinstance(block, Table) and not block.rows:
        return
    if block.title:
        _title(pdf, block.title, keep=_least(pdf, block))
    if isinstance(block, Table):
        draw_table(pdf, block)
    elif isinstance(block, Bars):
        draw_bars(pdf, block)
    elif isinstance(block, Curve):
        draw_curve(pdf, block)
    elif isinstance(block, Forest):
        draw_forest(pdf, block)
    elif isinstance(block, Notes):
        draw_notes(pdf, block.items)
    elif isinstance(block, Facts):
        _facts(pdf, block)
    else:
        _cases(pdf, block)


def draw_notes(pdf: Paper, items: Sequence[Note]) -> None:
    """Sentences, each with its word where it has a tone."""
    words = {"bad": _("finding"), "warn": _("look"), "ok": _("fine")}
    for note in items:
        word = words.get(note.tone, "")
        indent = 15.5 if word else 0.0
        pdf.pen(8.4, INK)
        lines = pdf.lines(note.text, pdf.epw - indent - (0 if word else 3), MOST_NOTE_LINES)
        height = max(5.0, len(lines) * pdf.leading(1.4)) + 0.8
        pdf.need(height)
        y = pdf.get_y()
        if word:
            pdf.badge(word, note.tone, MARGIN, y + 0.1, 6.6)
        else:
            pdf.set_fill_color(*INK_3)
            pdf.circle(MARGIN + 1, y + 1.9, 0.45, style="F")
            indent = 3.0
        pdf.pen(8.4, INK)
        pdf.write_lines(lines, MARGIN + indent, y, pdf.epw - indent, pdf.leading(1.4))
        pdf.set_xy(MARGIN, y + height)
    pdf.set_y(pdf.get_y() + 1.2)


def _title(pdf: Paper, text: str, keep: float) -> None:
    """A heading that is not left alone at the foot of a page."""
    pdf.need(7 + keep)
    pdf.pen(9.2, INK, bold=True)
    lines = pdf.lines(text, pdf.epw)[:2]
    pdf.set_y(pdf.write_lines(lines, MARGIN, pdf.get_y() + 1.4, pdf.epw, pdf.leading(1.35)) + 1.2)


def _least(pdf: Paper, block: Block) -> float:
    """How much of a block has to stand below its heading."""
    if isinstance(block, Curve):
        return 72.0
    if isinstance(block, Bars):
        return min(80.0, 8.0 + sum(4.3 * len(group.bars) + 2.6 for group in block.groups))
    if isinstance(block, Table):
        return max(18.0, least_height(pdf, block))
    return 8.2 * len(block.rows) + 9 if isinstance(block, Forest) else 18.0


def _facts(pdf: Paper, block: Facts) -> None:
    size = 7.4 if block.is_mono else 8.2
    for name, value in block.items:
        pdf.pen(size, INK_3)
        names = pdf.lines(name, LABELS - 3, MOST_LINES)
        pdf.pen(size, INK)
        values = pdf.lines(str(value), pdf.epw - LABELS) or [""]
        leading = pdf.leading(1.4)
        for start in range(0, len(values), MOST_LINES):  # a long one goes on below, and on the next page
            some = values[start : start + MOST_LINES]
            is_last = start + MOST_LINES >= len(values)
            height = max(len(names), len(some)) * leading + (0.9 if is_last else 0.0)
            pdf.need(height)
            y = pdf.get_y()
            pdf.pen(size, INK)
            pdf.write_lines(some, MARGIN + LABELS, y, pdf.epw - LABELS, leading)
            pdf.pen(size, INK_3)
            pdf.write_lines(names, MARGIN, y, LABELS - 3, leading)
            pdf.set_xy(MARGIN, y + height)
            names = []
    pdf.set_y(pdf.get_y() + 2)


def _cases(pdf: Paper, block: CaseCards) -> None:
    if block.note:
        draw_note(pdf, block.note)
        pdf.set_y(pdf.get_y() + 1)
    for case in block.cases[:MOST_CASES]:
        _case(pdf, case)
    left = len(block.cases) - MOST_CASES
    if left > 0:
        draw_note(pdf, _("%(n)s more are on the page of this evaluation.") % {"n": left})
        pdf.set_y(pdf.get_y() + 1.5)


def _case(pdf: Paper, case: CaseCard) -> None:
    inner, label = pdf.epw - 8, 30.0
    pdf.pen(8, INK)
    prompt = pdf.lines(case.prompt, inner, MOST_LINES)
    parts = [(name, pdf.lines(text or _("(empty)"), inner - label, MOST_LINES)) for name, text in case.parts]
    leading = pdf.leading(1.38)
    height = 4.4 + len(prompt) * leading + sum(max(1, len(lines)) * leading + 0.7 for _name, lines in parts) + 4.5
    pdf.need(min(height, pdf.bottom - MARGIN - 4))
    top = pdf.get_y()
    pdf.set_fill_color(*SOFT)
    pdf.set_draw_color(*LINE)
    pdf.set_line_width(0.2)
    pdf.rect(MARGIN, top, pdf.epw, height, style="DF", round_corners=True, corner_radius=1.6)
    pdf.pen(7, INK_3, bold=True)
    pdf.set_xy(MARGIN + 4, top + 1.8)
    pdf.cell(inner, 3.6, pdf.fitting(case.heading, inner))
    pdf.pen(8, INK)
    y = pdf.write_lines(prompt, MARGIN + 4, top + 5.8, inner, leading) + 0.9
    for name, lines in parts:
        pdf.pen(7.4, INK_3)
        pdf.set_xy(MARGIN + 4, y)
        pdf.cell(label - 2, leading, pdf.fitting(name, label - 2))
        pdf.pen(8, INK)
        y = pdf.write_lines(lines, MARGIN + 4 + label, y, inner - label, leading) + 0.7
    pdf.set_xy(MARGIN, top + height + 2.2)
