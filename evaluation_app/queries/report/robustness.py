"""How a model holds when its questions are disturbed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from evaluation_app.choices import SMALL_SAMPLE
from evaluation_app.queries.report.blocks import (
    Bar,
    BarGroup,
    Bars,
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
from web_kit.wording import number_words

MOST_EXAMPLES = 4


def robustness_words(test: str) -> str:
    """A robustness test in plain words."""
    names = {
        "typo_resistance": _("Typing mistakes"),
        "format_flexibility": _("Other shapes of the same question"),
        "edge_case_handling": _("Odd input (empty, very long, other languages)"),
        "adversarial_resistance": _("Attempts to trick it"),
    }
    return names.get(test, test.replace("_", " "))


def robustness_section(at: Reading) -> Section | None:
    """Test by test: the value on the cases as they are and on changed ones; None where the suite was not run."""
    tests = list(at.part("robustness") or ())
    if not tests:
        return None
    blocks: list[Block] = [notes] if (notes := findings_of(at, "robustness")) else []
    blocks += [_robustness_bars(tests), _robustness_table(tests)]
    if len(at.keys) > 1 and any(test.get("by_model") for test in tests):
        blocks.append(_robustness_models(at, tests))
    blocks += [_parts(test) for test in tests if test.get("parts")]
    if examples := _changed_examples(tests):
        blocks.append(examples)
    return Section(
        key="robustness",
        title=_("Does it hold when the question is disturbed?"),
        sentence=_(
            "The same cases with typing mistakes, other formats, odd input and attacks. What is expected never changes."
        ),
        blocks=blocks,
        term="robustness",
    )


def _robustness_bars(tests: list[Mapping[str, Any]]) -> Bars:
    groups = []
    for test in tests:
        if test.get("original") is None and test.get("perturbed") is None:
            continue
        bars = [
            Bar(0, test.get("original"), share_words(test.get("original"))),
            Bar(1, test.get("perturbed"), share_words(test.get("perturbed"))),
        ]
        groups.append(BarGroup(robustness_words(str(test.get("test"))), bars))
    label = "; ".join(f"{group.name}: {group.bars[0].words} → {group.bars[1].words}" for group in groups)
    return Bars(
        groups, [_("as asked"), _("disturbed")], label or _("No figures."), title=_("Before and after the disturbance")
    )


def _robustness_table(tests: list[Mapping[str, Any]]) -> Table:
    columns = [
        Column(_("Test"), share=2.2),
        Column(_("Score"), is_number=True),
        Column(_("Range"), share=1.6),
        Column(_("As asked"), is_number=True),
        Column(_("Disturbed"), is_number=True),
        Column(_("Worst case"), is_number=True),
        Column(_("Answers that change"), is_number=True),
        Column(_("What is left"), is_number=True),
    ]
    rows = []
    for test in tests:
        score, low, high = test.get("score"), test.get("ci_low"), test.get("ci_high")
        words = robustness_words(str(test.get("test")))
        cells = [
            Cell(words, note=str(test.get("reason") or ""), is_strong=True),
            Cell(share_words(score)),
            Cell(range_words(low, high), mark=Mark(score, low, high, label=f"{words}: {share_words(score)}")),
            Cell(share_words(test.get("original"))),
            Cell(share_words(test.get("perturbed"))),
            Cell(share_words(test.get("worst_case"))),
            Cell(share_words(test.get("flip_rate"))),
            Cell(share_words(test.get("degradation"))),
        ]
        rows.append(Row(cells, is_small=int(test.get("n") or 0) < SMALL_SAMPLE))
    note = _(
        "What is left: the share of the original value that survives the disturbance. "
        "Worst case: all variants of a case right. Score: the same share that is left; for odd input and attempts to trick "
        "it, the share of them that it withstood."
    )
    return Table(columns, rows, note=note)


def _robustness_models(at: Reading, tests: list[Mapping[str, Any]]) -> Table:
    columns = [Column(_("Model"), share=2.0)] + [
        Column(robustness_words(str(test.get("test"))), is_number=True, share=1.3) for test in tests
    ]
    rows = []
    for key in at.keys:
        cells = [Cell(at.names[key], note=at.role(key), is_user=True, is_strong=key == at.subject)]
        for test in tests:
            found = (test.get("by_model") or {}).get(key) or {}
            left = found.get("degradation")  # 1 - (original - perturbed) / original
            note = _("%(share)s is left") % {"share": share_words(left)} if left is not None else ""
            cells.append(Cell(share_words(found.get("score")), note=note))
        rows.append(Row(cells))
    return Table(columns, rows, title=_("The same tests on every model"))


def _parts(test: Mapping[str, Any]) -> Table:
    is_attack = any(part.get("attack_success_rate") is not None for part in test["parts"])
    columns = [
        Column(_("Disturbance"), share=2.0),
        Column(_("Cases"), is_number=True),
        *([Column(_("Attack obeyed"), is_number=True)] if is_attack else []),
        Column(_("As asked"), is_number=True),
        Column(_("Disturbed"), is_number=True),
        Column(_("Answers that change"), is_number=True),
    ]
    rows = []
    for part in test["parts"]:
        level = part.get("level")
        name = str(part.get("kind") or "").replace("_", " ")
        n = int(part.get("n") or 0)
        cells = [
            Cell(f"{name}, {_level(level)}" if level not in (None, "") else name),
            Cell(number_words(n)),
            *([Cell(share_words(part.get("attack_success_rate")), is_strong=True)] if is_attack else []),
            Cell(share_words(part.get("original"))),
            Cell(share_words(part.get("perturbed"))),
            Cell(share_words(part.get("flip_rate"))),
        ]
        rows.append(Row(cells, is_small=n < SMALL_SAMPLE))
    return Table(columns, rows, title=robustness_words(str(test.get("test"))))


def _level(level: Any) -> str:
    if isinstance(level, float | int) and not isinstance(level, bool) and 0 < level < 1:
        return _("%(share)s of the letters") % {"share": share_words(level, 0)}
    return str(level)


def _changed_examples(tests: list[Mapping[str, Any]]) -> CaseCards | None:
    cases = []
    for test in tests:
        for example in list(test.get("examples") or ())[:MOST_EXAMPLES]:
            heading = _("%(test)s, row %(row)s") % {
                "test": robustness_words(str(test.get("test"))),
                "row": example.get("row"),
            }
            parts = [
                (_("Disturbed to"), str(example.get("changed_prompt") or "")),
                (_("Expected"), str(example.get("expected") or "")),
                (_("Answer before"), str(example.get("answer") or "")),
                (_("Answer after"), str(example.get("changed_answer") or "")),
            ]
            cases.append(CaseCard(heading, str(example.get("prompt") or ""), parts))
    return CaseCards(cases, title=_("Answers that a disturbance changed"), is_folded=True) if cases else None
