"""What people say, and what a judging model says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from evaluation_app.queries.report.blocks import Block, Cell, Column, Facts, Mark, Note, Notes, Row, Section, Table
from evaluation_app.queries.report.reading import Reading
from evaluation_app.queries.report.words import range_words, share_words
from web_kit.wording import NOTHING, number_words

FEW_VOTES = 30


def human_section(human: Mapping[str, Any] | None, sample_waits: bool) -> Section:
    """The verdict of people from the newest closed review, or that nobody has looked yet."""
    title, sentence = (
        _("What do people say?"),
        _("Blind: nobody saw which model wrote which answer until the review was closed."),
    )
    if human is None:
        words = _("No review is closed yet. Figures cannot tell whether an answer is useful; people can.")
        if sample_waits:
            words = f"{words} {_('A sample of answers is ready to be reviewed.')}"
        note = Notes([Note("warn", words)])
        return Section("people", title, sentence, [note], "blind_review", _("not reviewed"), "warn")
    blocks: list[Block] = [Notes([Note("", str(human.get("sentence") or ""))])]
    if human.get("win_rate") is not None:
        blocks.append(_win_rate(human))
    if human.get("rubric"):
        blocks.append(_rubric(human["rubric"]))
    blocks.append(_who(human))
    state, tone = (_("reviewed"), "ok")
    if human.get("kind") == "pairs" and not human.get("is_enough"):
        state, tone = _("few votes"), "warn"
    return Section("people", title, sentence, blocks, "blind_review", state, tone)  # type: ignore[arg-type]


def _win_rate(human: Mapping[str, Any]) -> Table:
    rate, low, high = human.get("win_rate"), human.get("ci_low"), human.get("ci_high")
    columns = [
        Column(_("Preferred"), share=2.0),
        Column(_("Share of decisive cases"), is_number=True, share=1.4),
        Column(_("Range"), share=2.0),
        Column(_("Decisive cases"), is_number=True),
    ]
    name = _("%(model)s over %(other)s") % {"model": human.get("model"), "other": human.get("against")}
    mark = Mark(rate, low, high, reference=0.5, label=f"{name}: {share_words(rate)}")
    decisive = int(human.get("decisive") or 0)
    cells = [
        Cell(name, is_user=True, is_strong=True),
        Cell(share_words(rate)),
        Cell(range_words(low, high), mark=mark),
        Cell(number_words(decisive), note="" if human.get("is_enough") else _("more votes would make this firmer")),
    ]
    return Table(columns, [Row(cells, is_small=decisive < FEW_VOTES)])


def _rubric(questions: list[Mapping[str, Any]]) -> Table:
    columns = [
        Column(_("Question"), share=2.6),
        Column(_("Mean of 5"), is_number=True),
        Column(_("Range"), share=2.0),
        Column(_("Cases"), is_number=True),
    ]
    rows = []
    for question in questions:
        mean, low, high = question.get("mean"), question.get("ci_low"), question.get("ci_high")
        name = str(question.get("question") or question.get("name"))
        ends = "" if low is None or high is None else f"{number_words(low, 1)}-{number_words(high, 1)}"
        mark = Mark(mean, low, high, 1.0, 5.0, label=f"{name}: {number_words(mean, 1)}")
        cells = [Cell(name, is_user=True, is_strong=True), Cell(number_words(mean, 1)), Cell(ends, mark=mark)]
        rows.append(Row([*cells, Cell(number_words(question.get("n")))]))
    return Table(columns, rows, title=_("Marks from 1 to 5"))


def _who(human: Mapping[str, Any]) -> Facts:
    lines = [
        (_("Review"), str(human.get("name") or NOTHING)),
        (_("Cases"), number_words(human.get("items"))),
        (_("Reviewers"), number_words(human.get("raters"))),
    ]
    unchanged = human.get("unchanged") or {}
    if unchanged.get("value") is not None:
        ends = range_words(unchanged.get("ci_low"), unchanged.get("ci_high"))
        lines.append((_("Answers that needed no correction"), f"{share_words(unchanged['value'])} ({ends})"))
    if human.get("percent_agreement") is not None:
        lines.append((_("Reviewers agree in"), share_words(human["percent_agreement"])))
    for name, key in ((_("Agreement beyond chance (Krippendorff alpha)"), "alpha"), (_("The same by Gwet AC1"), "ac1")):
        if human.get("percent_agreement") is not None:
            value = human.get(key)
            lines.append((name, _("not measurable") if value is None else number_words(value, 2)))
    if human.get("agreement_sentence"):
        lines.append((_("In words"), str(human["agreement_sentence"])))
    return Facts(lines)


def judge_section(at: Reading, human: Mapping[str, Any] | None) -> Section | None:
    """What a judging model preferred, with the order of the answers swapped, and how far people decided alike; None where
    none was asked."""
    found = at.part("judge")
    if not found:
        return None
    rate, low, high = found.get("win_rate"), found.get("ci_low"), found.get("ci_high")
    columns = [
        Column(_("Judge"), share=1.8),
        Column(_("Cases"), is_number=True),
        Column(_("Wins"), is_number=True),
        Column(_("Losses"), is_number=True),
        Column(_("Ties"), is_number=True),
        Column(_("Preferred in"), is_number=True),
        Column(_("Range"), share=1.8),
        Column(_("Same with the order swapped"), is_number=True, share=1.3),
    ]
    counts = [Cell(number_words(found.get(name))) for name in ("n", "wins", "losses", "ties")]
    mark = Mark(rate, low, high, reference=0.5, label=f"{found.get('model')}: {share_words(rate)}")
    cells = [
        Cell(str(found.get("model") or ""), is_user=True, is_strong=True),
        *counts,
        Cell(share_words(rate)),
        Cell(range_words(low, high), mark=mark),
        Cell(share_words(found.get("order_agreement"))),
    ]
    note = _("A judging model has tastes of its own (long answers, its own kin). It never replaces people.")
    return Section(
        key="judge",
        title=_("What does a judging model say?"),
        sentence=_("Each pair was shown twice, in both orders; only where both agree is there a winner."),
        blocks=[Table(columns, [Row(cells)], note=note), *_beside_people(human)],
        term="judge",
    )


def _beside_people(human: Mapping[str, Any] | None) -> list[Block]:
    """How far the judge decides as people did (see ``agreement_with_humans``); a sentence where that is not known."""
    title, found = _("Does it decide as people do?"), (human or {}).get("judge")
    if not found:
        words = _("Not known: no blind comparison of the same two models by people is closed yet.")
        return [Notes([Note("warn", words)], title=title)]
    share, few = found.get("decisive_agreement"), int(found.get("decisive_n") or 0)
    is_firm = few >= FEW_VOTES and (found.get("ci_low") or 0) > 0.5
    lines = [(_("Cases that both judged"), number_words(found.get("n")))]
    if share is not None:
        ends = range_words(found.get("ci_low"), found.get("ci_high"))
        alike = _("%(share)s of %(n)s (%(range)s)") % {"share": share_words(share), "n": few, "range": ends}
        lines += [(_("Same winner, where both named one"), alike)]
    if found.get("percent") is not None:
        lines.append((_("Same, ties counted"), share_words(found["percent"])))
        for name, key in ((_("Beyond chance (Krippendorff alpha)"), "alpha"), (_("The same by Gwet AC1"), "ac1")):
            value = found.get(key)
            lines.append((name, _("not measurable") if value is None else number_words(value, 2)))
    told = Note("ok" if is_firm else "warn", str(found.get("sentence") or ""))
    return [Notes([told], title=title), Facts(lines)]
