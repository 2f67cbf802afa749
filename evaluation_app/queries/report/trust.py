"""How far the model's own confidence can be trusted, and whether asking the base model better would have done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from evaluation_app.queries.report.blocks import Block, Cell, Column, Curve, Line, Note, Notes, Row, Section, Table
from evaluation_app.queries.report.reading import Reading
from evaluation_app.queries.report.words import share_words
from web_kit.wording import number_words

COVERAGES = (0.25, 0.5, 0.75, 0.9, 1.0)


def calibration_section(at: Reading) -> Section | None:
    """Whether a confidence of 0.8 means right in 8 of 10; None where quality says nothing of it."""
    found = (at.part("quality") or {}).get("calibration")
    if not found:
        return None
    title = _("Does it know when it is unsure?")
    sentence = _("If the model says 80% sure, it should be right in 80 of 100 such cases.")
    bins, curve = list(found.get("bins") or ()), list(found.get("curve") or ())
    if found.get("ece_10_bin") is None or not bins:
        reason = str(found.get("reason") or _("Too few cases to say."))
        return Section(
            "calibration", title, sentence, [Notes([Note("", reason)])], "calibration", _("not measured"), "idle"
        )
    gap = share_words(found["ece_10_bin"])
    told = _("Confidence and truth are %(gap)s apart on average, over %(n)s cases.") % {
        "gap": gap,
        "n": number_words(found.get("n")),
    }
    blocks: list[Block] = [Notes([Note(_tone(float(found["ece_10_bin"])), told)]), _reliability(bins)]
    if curve:
        blocks += [_coverage(curve), _coverage_table(curve)]
    return Section("calibration", title, sentence, blocks, "calibration")


def _tone(gap: float) -> Any:
    return "ok" if gap <= 0.05 else "warn" if gap <= 0.15 else "bad"


def _reliability(bins: list[Mapping[str, Any]]) -> Curve:
    points = [
        (float(one["confidence"]), float(one["accuracy"]))
        for one in bins
        if one.get("n") and one.get("confidence") is not None and one.get("accuracy") is not None
    ]
    words = "; ".join(f"{share_words(x, 0)} → {share_words(y, 0)}" for x, y in points)
    return Curve(
        [Line(_("right"), points, has_dots=True)],
        label=_("Share of right answers by confidence: %(figures)s") % {"figures": words},
        x_name=_("confidence"),
        y_name=_("right answers"),
        has_diagonal=True,
        title=_("Confidence against truth (on the dashed line both are equal)"),
    )


def _coverage(curve: list[Mapping[str, Any]]) -> Curve:
    points = [(float(one["coverage"]), float(one["accuracy"])) for one in curve if one.get("accuracy") is not None]
    return Curve(
        [Line(_("right"), points)],
        label=_("Share of right answers when only the most confident cases are answered by the model."),
        x_name=_("share of cases answered by the model"),
        y_name=_("right answers"),
        title=_("If unsure cases went to a person"),
    )


def _coverage_table(curve: list[Mapping[str, Any]]) -> Table:
    rows = []
    for wanted in COVERAGES:
        near = min(curve, key=lambda one: abs(float(one["coverage"]) - wanted))
        if abs(float(near["coverage"]) - wanted) > 0.06:
            continue
        rows.append(
            Row(
                [
                    Cell(share_words(near["coverage"], 0)),
                    Cell(share_words(near.get("accuracy"))),
                    Cell(share_words(1 - float(near["coverage"]), 0)),
                ]
            )
        )
    columns = [
        Column(_("The model answers"), share=1.4),
        Column(_("Right among these"), is_number=True),
        Column(_("Left to a person"), is_number=True),
    ]
    return Table(columns, rows)


def prompting_section(at: Reading) -> Section | None:
    """Whether better wording or examples would have done as well; None where no such variant was asked."""
    found = at.part("prompting")
    if not found:
        return None
    words = str(found.get("sentence") or "")
    if found.get("name"):
        best = _("Best other wording: %(name)s, %(value)s.") % {
            "name": found["name"],
            "value": share_words(found.get("value")),
        }
        blocks: list[Block] = [Notes([Note("", words), Note("", best, is_user=True)])]
    else:
        blocks = [Notes([Note("", words)])]
    return Section(
        key="prompting",
        title=_("Would better instructions have done?"),
        sentence=_("The base model, asked in other words or with solved examples, on the same cases."),
        blocks=blocks,
        term="prompting",
    )
