"""What the model is worth, under assumptions that a person has typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from accounts_app.models import Project
from evaluation_app.models import ReportAssumptions
from evaluation_app.queries.report.blocks import Block, Cell, Column, Facts, Note, Notes, Row, Section, Table
from evaluation_app.queries.report.reading import Reading
from finetune_engine.errors import UserError
from finetune_engine.evaluate.worth.assumptions import Assumptions, Spread, assumptions_of
from finetune_engine.evaluate.worth.roi import Figure, Kpis
from web_kit.wording import NOTHING, money_words, number_words, percent_words


def assumptions_for(project: Project) -> Assumptions:
    """The project's own, or the empty ones: everything that nobody has said is not known. One query."""
    row = ReportAssumptions.objects.filter(project=project).first()
    try:
        return assumptions_of(row.values if row else {})
    except UserError:  # written by an older version of the site
        return Assumptions()


def has_assumptions(given: Assumptions) -> bool:
    """Whether anybody has typed any."""
    return given != Assumptions()


def worth_section(at: Reading, found: Kpis, given: Assumptions) -> Section:
    """The figures in a cautious, an expected and a hopeful case, and what they rest on."""
    columns = [
        Column(_("Figure"), share=2.2),
        Column(_("Cautious"), is_number=True, share=1.3),
        Column(_("Expected"), is_number=True, share=1.35),
        Column(_("Hopeful"), is_number=True, share=1.35),
        Column(_("Rests on"), share=2.0),
    ]
    rows = [_line(name, note, figure, found.currency) for name, note, figure in _figures(found, _baseline(at, given))]
    blocks: list[Block] = []
    if not has_assumptions(given):
        words = _("Nobody has said what a case costs today, so savings cannot be worked out. Fill in the assumptions.")
        blocks.append(Notes([Note("warn", words)]))
    blocks += [Table(columns, rows), Facts(_assumed(given, at), title=_("Assumptions"))]
    return Section(
        key="worth",
        title=_("What is it worth?"),
        sentence=_("Measured figures and your own assumptions. Every assumption can be changed; all figures follow."),
        blocks=blocks,
        term="roi",
    )


def _figures(found: Kpis, other: str) -> list[tuple[str, str, Figure]]:
    """Name, note and figure of each line."""
    return [
        (
            _("More right answers"),
            _("relative to %(other)s") % {"other": other},
            found.accuracy_improvement,
        ),
        (_("Faster answers"), _("share of the waiting that falls away"), found.speed_improvement),
        (_("Lower cost"), _("share of today's cost of a case that falls away"), found.cost_reduction),
        (_("Precision on your task"), "precision", found.domain_performance["precision"]),
        (_("Recall on your task"), "recall", found.domain_performance["recall"]),
        (_("F1 on your task"), _("both in one"), found.domain_performance["f1"]),
        (_("Answers used unchanged"), "", found.share_unchanged),
        (_("Training"), _("once"), found.training_cost),
        (_("Training and preparing the data"), _("once"), found.one_off_cost),
        (_("Saved each month"), "", found.monthly_savings),
        (_("Paid back after"), _("months"), found.payback_months),
        (
            _("Left after %(n)s months") % {"n": found.horizon_months},
            _("savings less what it cost once"),
            found.net_over_horizon,
        ),
        (
            _("Return after %(n)s months") % {"n": found.horizon_months},
            _("per money spent once"),
            found.return_on_investment,
        ),
    ]


def _line(name: str, note: str, figure: Figure, currency: str) -> Row:
    worse, better = (figure.low, figure.high) if figure.higher_is_better else (figure.high, figure.low)
    words = [_value(end, figure.unit, currency) for end in (worse, figure.expected, better)]
    if figure.expected is None:
        words = [NOTHING] * 3
    basis = figure.reason or figure.basis
    cells = [Cell(name, note=note, is_strong=True), Cell(words[0]), Cell(words[1], is_strong=True), Cell(words[2])]
    return Row([*cells, Cell(basis)], is_small=figure.expected is None)


def _value(value: float | None, unit: str, currency: str) -> str:
    if value is None:
        return NOTHING
    if unit == "share":
        return percent_words(value)
    if unit == "money":
        return money_words(value, currency)
    return number_words(value, 1)


def _baseline(at: Reading, given: Assumptions) -> str:
    key = given.baseline or at.against
    return at.names.get(key or "", "") or NOTHING


def _assumed(given: Assumptions, at: Reading) -> list[tuple[str, str]]:
    today = _("people alone") if given.today == "manual" else _("the model %(name)s") % {"name": _baseline(at, given)}
    sources = {
        "typed": _("typed"),
        "accuracy": _("share of right answers"),
        "human": _("what reviewers left as it was"),
    }
    money, plain = given.currency, ""
    lines = [
        (_("The work is done today by"), today),
        (_("Cases a month"), _spread(given.monthly_volume, plain)),
        (_("An hour of work costs"), _spread(given.hourly_rate, money)),
        (_("Minutes for a case today"), _spread(given.minutes_today, plain)),
        (_("Minutes saved per answer used unchanged"), _spread(given.minutes_saved, plain)),
        (_("Share used unchanged"), _share(given.share_unchanged) or sources[given.share_source]),
        (_("Running cost of an answer"), _spread(given.running_cost_per_answer, money, _("from this report"))),
        (_("Running cost each month whatever the volume"), _spread(given.running_cost_per_month, money)),
        (_("What an answer costs today"), _spread(given.baseline_cost_per_answer, money, _("from this report"))),
        (_("Training"), _spread(given.training_cost, money, _("from this report"))),
        (_("Preparing the data, once"), _spread(given.data_preparation_cost, money)),
        (_("Looked at over"), _("%(n)s months") % {"n": given.horizon_months}),
    ]
    skip = {_("What an answer costs today")} if given.today == "manual" else {_("Minutes for a case today")}
    return [line for line in lines if line[0] not in skip]


def _share(spread: Spread | None) -> str:
    return "" if spread is None else " / ".join(percent_words(end) for end in _ends(spread))


def _spread(spread: Spread | None, currency: str, nothing: str = "") -> str:
    if spread is None:
        return nothing or _("not said")
    words = [number_words(end) for end in _ends(spread)]
    return f"{' / '.join(words)} {currency}".strip()


def _ends(spread: Spread) -> list[Any]:
    return [spread.expected] if spread.low == spread.high else [spread.low, spread.expected, spread.high]


def kpis_json(found: Kpis, given: Assumptions) -> Mapping[str, Any]:
    """For the report's JSON."""
    return found.as_dict() | {"assumptions": given.as_dict()}
