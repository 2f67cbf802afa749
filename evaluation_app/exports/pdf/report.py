"""The whole report on paper. The same report gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from django.utils import formats, timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from evaluation_app.exports.pdf.paper import ACCENT, INK, INK_2, INK_3, LINE, MARGIN, TONES, Paper
from evaluation_app.exports.pdf.plots import draw_forest
from evaluation_app.exports.pdf.sections import draw_notes, draw_section
from evaluation_app.queries.report.blocks import Facts, Note, Notes, Section
from evaluation_app.queries.report.summary import key_figures
from evaluation_app.queries.report.whole import WholeReport

SHOWN_ON_COVER = 4
LONG_SENTENCE = 320
MOST_VERDICT_LINES = 22


def report_pdf(whole: WholeReport) -> bytes:
    """The report as a PDF: cover with the verdict, then every section."""
    texts = list(_texts(whole))
    day = formats.date_format(timezone.localtime(whole.finished_at), "DATE_FORMAT")
    foot = f"{day}  ·  {_('Fingerprint of the report')} {whole.sha256[:16]}…"
    pdf = Paper(texts, head=whole.card.model_name, tail=whole.card.verdict_label, foot=foot)
    title = _("Evaluation of %(model)s") % {"model": whole.card.model_name}
    subject = f"{whole.card.verdict_label}. {whole.card.sentence}"
    language = translation.get_language() or "en"
    author = whole.evaluation.project.name
    pdf.describe(title=title, subject=subject, author=author, at=whole.finished_at, language=language)
    pdf.add_page()
    _cover(pdf, whole, day)
    if pdf.page_no() == 1:
        pdf.add_page()
        pdf.set_y(MARGIN + 2)
    *shown, measured = whole.printed
    for section in [*shown, _sign_off(whole), measured]:
        draw_section(pdf, section)
    if pdf.missing:
        draw_section(pdf, _missing(pdf))
    return bytes(pdf.output())


def _cover(pdf: Paper, whole: WholeReport, day: str) -> None:
    _identity(pdf, whole)
    pdf.set_fill_color(*ACCENT)
    pdf.rect(0, 0, pdf.w, 3.2, style="F")
    pdf.pen(8.5, ACCENT, bold=True)
    pdf.set_xy(MARGIN, 20)
    pdf.cell(pdf.epw, 5, pdf.fitting(_("Evaluation report") + "  ·  " + whole.evaluation.project.name, pdf.epw))
    pdf.pen(25, INK, bold=True)
    names = pdf.lines(whole.card.model_name, pdf.epw, 2)
    y = pdf.write_lines(names, MARGIN, 28, pdf.epw, 10.5)
    pdf.pen(9.5, INK_2)
    count = ngettext("Judged on %(n)s case of %(data)s", "Judged on %(n)s cases of %(data)s", whole.view.n)
    told = count % {"n": whole.view.n, "data": whole.card.data_name} + f"  ·  {day}"
    pdf.set_y(pdf.write_lines(pdf.lines(told, pdf.epw, 2), MARGIN, y + 1.5, pdf.epw, 5) + 6)
    _verdict(pdf, whole)
    _strip(pdf, key_figures(whole))
    if whole.headline:
        _heading(pdf, whole.headline.title)
        draw_forest(pdf, whole.headline)
        pdf.set_y(pdf.get_y() + 3)
    acts = [Note(act.tone if act.tone in ("bad", "warn") else "", act.text) for act in whole.advice]
    for title, notes in ((_("What stands out"), whole.reasons), (_("What would make it better"), acts)):
        if notes:
            _heading(pdf, title)
            draw_notes(pdf, [Note("", note.text) for note in notes[:SHOWN_ON_COVER]])
            pdf.set_y(pdf.get_y() + 1.5)


def _verdict(pdf: Paper, whole: WholeReport) -> None:
    ink, ground = TONES.get(whole.card.tone, TONES[""])
    size = 10.0 if len(whole.card.sentence) <= LONG_SENTENCE else 8.8
    pdf.pen(size, INK)
    lines = pdf.lines(whole.card.sentence, pdf.epw - 16, MOST_VERDICT_LINES)
    height = 14 + len(lines) * pdf.leading(1.45) + 4
    top = pdf.get_y()
    pdf.set_fill_color(*ground)
    pdf.rect(MARGIN, top, pdf.epw, height, style="F")
    pdf.set_fill_color(*ink)
    pdf.rect(MARGIN, top, 2.2, height, style="F")
    pdf.pen(17, ink, bold=True)
    pdf.set_xy(MARGIN + 8, top + 4)
    pdf.cell(pdf.epw - 16, 8, pdf.fitting(whole.card.verdict_label, pdf.epw - 16))
    pdf.pen(size, INK)
    pdf.write_lines(lines, MARGIN + 8, top + 14, pdf.epw - 16, pdf.leading(1.45))
    pdf.set_y(top + height + 6)


def _strip(pdf: Paper, figures: Sequence[tuple[str, str, str]]) -> None:
    """A few figures side by side, each with its name above and a note below."""
    if not figures:
        return
    gap, top, height = 4.0, pdf.get_y(), 19.0
    width = (pdf.epw - gap * (len(figures) - 1)) / len(figures)
    for number, (name, value, note) in enumerate(figures):
        x = MARGIN + number * (width + gap)
        pdf.set_draw_color(*LINE)
        pdf.set_line_width(0.2)
        pdf.rect(x, top, width, height, style="D", round_corners=True, corner_radius=1.6)
        for size, colour, text, y, bold in (
            (7.0, INK_3, name, 2.2, False),
            (12.5, INK, value, 6.6, True),
            (6.8, INK_3, note, 13.4, False),
        ):
            pdf.pen(size, colour, bold=bold)
            pdf.set_xy(x + 3, top + y)
            pdf.cell(width - 6, 4, pdf.fitting(text, width - 6))
    pdf.set_y(top + height + 7)


def _heading(pdf: Paper, text: str) -> None:
    pdf.need(20)
    pdf.pen(10.5, INK, bold=True)
    pdf.set_xy(MARGIN, pdf.get_y())
    pdf.cell(pdf.epw, 5, pdf.fitting(text, pdf.epw))
    pdf.set_y(pdf.get_y() + 6.4)


def _identity(pdf: Paper, whole: WholeReport) -> None:
    """Who it is and who signed, at the foot of the cover."""
    signed = whole.signature
    words = _("Not signed by an owner yet.")
    if signed:
        on = formats.date_format(timezone.localtime(signed.signed_at), "DATE_FORMAT")
        words = _("Signed by %(who)s on %(day)s") % {"who": signed.signed_by, "day": on}
        words += f", {signed.rests_on}." if signed.rests_on else "."
    lines = [words, f"{whole.evaluation.trained_model.api_name}", f"SHA-256 {whole.sha256}"]
    y = pdf.bottom + 2
    pdf.rule(y)
    for number, line in enumerate(lines):
        pdf.pen(8.2 if number == 0 else 7, INK if number == 0 else INK_3, bold=number == 0)
        pdf.set_xy(MARGIN, y + 2 + 4.4 * number)
        pdf.cell(pdf.epw, 4, pdf.fitting(line, pdf.epw))


def _sign_off(whole: WholeReport) -> Section:
    title, sentence = _("Sign-off"), _("A model answers for everybody only when an owner stands for it.")
    if not whole.signatures:
        return Section("sign-off", title, sentence, [Notes([Note("", _("Nobody has signed for this model."))])])
    blocks = []
    for one in whole.signatures:
        at = formats.date_format(timezone.localtime(one.signed_at), "DATETIME_FORMAT")
        lines = [(_("Signed by"), one.signed_by), (_("When"), at)]
        lines += [(_("The evaluation said"), one.verdict_label)] if one.verdict_label else []
        lines += [(_("Statement"), one.statement)] if one.statement else []
        lines += [(_("Fingerprint of the report"), one.report_sha256)] if one.report_sha256 else []
        if one.withdrawn_at:
            lines.append((_("Withdrawn"), formats.date_format(timezone.localtime(one.withdrawn_at), "DATETIME_FORMAT")))
        blocks.append(Facts(lines))
    state, tone = _("withdrawn"), "idle"
    if signed := whole.signature:
        state, tone = f"{_('signed')} {signed.rests_on}".strip(), "warn" if signed.rests_on else "ok"
    return Section("sign-off", title, sentence, blocks, state=state, tone=tone)  # type: ignore[arg-type]


def _missing(pdf: Paper) -> Section:
    letters = ", ".join(f"U+{ord(letter):04X}" for letter in sorted(pdf.missing)[:40])
    words = _("Letters that no font on this machine has are shown as a box: %(letters)s. The other files have them.")
    return Section("letters", _("Letters that are missing"), "", [Notes([Note("", words % {"letters": letters})])])


def _texts(value: Any) -> Iterator[str]:
    """Every text of the report, so that fonts for its letters can be found."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, WholeReport):
        for part in (value.printed, value.reasons, value.advice, value.headline, value.signatures):
            yield from _texts(part)
        yield from (value.card.model_name, value.card.sentence, value.card.data_name, value.evaluation.project.name)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _texts(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
