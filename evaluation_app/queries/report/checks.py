"""What was demanded of the answers: acceptance rules, and cases that must not be forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from evaluation_app.choices import SMALL_SAMPLE, RuleKind
from evaluation_app.queries.report.blocks import Block, CaseCard, CaseCards, Cell, Column, Mark, Row, Section, Table
from evaluation_app.queries.report.reading import Reading
from evaluation_app.queries.report.words import range_words, share_words

MOST_FAILURES = 6


def rules_section(at: Reading) -> Section | None:
    """Rule by rule how many answers keep it, and some that do not; None where nothing was demanded."""
    rules = list(at.part("acceptance") or ())
    regressions = at.part("regressions")
    if not rules and not regressions:
        return None
    failed = [rule for rule in rules if (rule.get("passed") or 0) < (rule.get("n") or 0)]
    broken = list((regressions or {}).get("failed") or ())
    blocks: list[Block] = []
    if rules:
        blocks.append(_rule_table(at, rules))
        blocks.extend(_failures(rule) for rule in failed if rule.get("failures"))
    if regressions:
        blocks.append(_regression_table(regressions))
        if broken:
            blocks.append(_broken(broken))
    state, tone = (_("all kept"), "ok") if _asked(rules, regressions) else (_("not asked"), "idle")
    if failed or broken:
        state, tone = _("broken"), "bad"
    return Section(
        key="rules",
        title=_("What you demanded"),
        sentence=_("Your acceptance rules on every answer, and the cases that no later model may get wrong."),
        blocks=blocks,
        term="acceptance_rule",
        state=state,
        tone=tone,  # type: ignore[arg-type]
    )


def _asked(rules: list[Mapping[str, Any]], regressions: Mapping[str, Any] | None) -> bool:
    """Whether anything was held against any answer."""
    return any(rule.get("n") for rule in rules) or bool((regressions or {}).get("n"))


def _rule_table(at: Reading, rules: list[Mapping[str, Any]]) -> Table:
    others = [key for key in at.keys if key != at.subject]
    columns = [
        Column(_("Rule"), share=2.6),
        Column(_("Result"), share=1.1),
        Column(_("Kept by"), is_number=True, share=1.2),
        Column(_("Range"), share=1.8),
    ]
    columns += [Column(at.names[key], is_number=True, share=1.1) for key in others]
    rows = []
    for rule in rules:
        n, passed = int(rule.get("n") or 0), int(rule.get("passed") or 0)
        rate, low, high = rule.get("rate"), rule.get("ci_low"), rule.get("ci_high")
        label = f"{rule.get('name')}: {share_words(rate)}"
        cells = [
            Cell(str(rule.get("name") or rule.get("id")), note=_kind(rule), is_user=True, is_strong=True),
            _result(passed, n),
            Cell(share_words(rate), note=_("%(passed)s of %(n)s") % {"passed": passed, "n": n}),
            Cell(range_words(low, high), mark=Mark(rate, low, high, label=label)),
        ]
        cells += [Cell(share_words((rule.get("by_model") or {}).get(key))) for key in others]
        rows.append(Row(cells, is_small=n < SMALL_SAMPLE))
    return Table(columns, rows, title=_("Acceptance rules"))


def _kind(rule: Mapping[str, Any]) -> str:
    kind = str(rule.get("kind") or "")
    return str(RuleKind(kind).label) if kind in RuleKind.values else kind


def _result(passed: int, n: int) -> Cell:
    if not n:
        return Cell(_("not asked"), tone="idle")
    if passed >= n:
        return Cell(_("kept"), tone="ok")
    return Cell(ngettext("broken once", "broken %(n)s times", n - passed) % {"n": n - passed}, tone="bad")


def _failures(rule: Mapping[str, Any]) -> CaseCards:
    failures = list(rule["failures"])
    cases = [
        CaseCard(
            heading=_("Row %(row)s") % {"row": failure.get("row")},
            prompt="",
            parts=[(_("Answer"), str(failure.get("answer") or "")), (_("Why"), str(failure.get("why") or ""))],
        )
        for failure in failures[:MOST_FAILURES]
    ]
    title = _("Answers that break “%(name)s”") % {"name": rule.get("name") or rule.get("id")}
    return CaseCards(cases, title=title, is_folded=True)


def _regression_table(found: Mapping[str, Any]) -> Table:
    n, passed = int(found.get("n") or 0), int(found.get("passed") or 0)
    row = Row(
        [Cell(_("Cases that must not be forgotten"), is_strong=True), _result(passed, n), Cell(f"{passed} / {n}")]
    )
    columns = [Column(_("What"), share=2.6), Column(_("Result"), share=1.2), Column(_("Right"), is_number=True)]
    return Table(columns, [row])


def _broken(failed: list[Mapping[str, Any]]) -> CaseCards:
    cases = [
        CaseCard(
            heading=_("Must not be forgotten"),
            prompt=str(case.get("prompt") or ""),
            parts=[
                (_("Expected"), str(case.get("expected") or "")),
                (_("Answer"), str(case.get("answer") or "")),
                (_("Why"), str(case.get("why") or "")),
            ],
        )
        for case in failed[: 2 * MOST_FAILURES]
    ]
    return CaseCards(cases, title=_("Forgotten"))
