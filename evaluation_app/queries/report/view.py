"""Everything that the page of an evaluation shows, gathered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluation_app.choices import SMALL_SAMPLE
from evaluation_app.models import Evaluation
from evaluation_app.queries.lists import EvaluationCard, evaluation_card
from evaluation_app.queries.report.figures import (
    CaseGroup,
    ClassRow,
    ConfusionView,
    Contender,
    MetricRow,
    case_groups,
    class_rows,
    confusion_view,
    contenders_of,
    metric_rows,
)
from evaluation_app.queries.report.reading import Reading
from web_kit.wording import NOTHING


@dataclass(frozen=True)
class EvaluationView:
    """The figures that the report holds, in words. The lists are empty until it is done."""

    card: EvaluationCard
    n: int
    contenders: list[Contender]
    rows: list[MetricRow]
    classes: list[ClassRow]
    confusion: ConfusionView | None
    groups: list[CaseGroup]
    run: list[tuple[str, str]]
    has_report: bool
    has_small_sample: bool


def evaluation_view(evaluation: Evaluation) -> EvaluationView:
    """The evaluation for its page. No query: what stands beside the report is in ``whole_report``."""
    report = evaluation.report or {}
    at = Reading.of(report)
    contenders = contenders_of(at)
    return EvaluationView(
        card=evaluation_card(evaluation),
        n=at.n,
        contenders=[contender for contender, _scores in contenders],
        rows=metric_rows(at, contenders),
        classes=class_rows(at),
        confusion=confusion_view(at.model(at.subject)),
        groups=case_groups(at),
        run=run_lines(report.get("run") or {}),
        has_report=bool(report),
        has_small_sample=bool(report) and at.n < SMALL_SAMPLE,
    )


def run_lines(run: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The run record, nested names joined by dots."""
    lines: list[tuple[str, str]] = []
    for name, value in run.items():
        if isinstance(value, Mapping):
            lines.extend(run_lines(value, f"{prefix}{name}."))
        else:
            lines.append((f"{prefix}{name}", NOTHING if value is None else str(value)))
    return lines
