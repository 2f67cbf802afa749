"""The whole report: what the engine wrote, what people have added, and both in the sections that are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from evaluation_app.models import Evaluation
from evaluation_app.queries.lists import EvaluationCard
from evaluation_app.queries.report import summary, worth
from evaluation_app.queries.report.advice import Advice, advice_of
from evaluation_app.queries.report.blocks import Forest, Note, Section, Tone
from evaluation_app.queries.report.checks import rules_section
from evaluation_app.queries.report.fairness import fairness_section
from evaluation_app.queries.report.forgetting import forgetting_section
from evaluation_app.queries.report.origin import limitations_section, lineage, lineage_section
from evaluation_app.queries.report.people import human_section, judge_section
from evaluation_app.queries.report.reading import Reading
from evaluation_app.queries.report.robustness import robustness_section
from evaluation_app.queries.report.running import cost_section, speed_section
from evaluation_app.queries.report.trust import calibration_section, prompting_section
from evaluation_app.queries.report.view import EvaluationView, evaluation_view
from evaluation_app.queries.report.where import clusters_section, slices_section
from evaluation_app.queries.reviews import human_verdict
from evaluation_app.queries.sign_offs import SignOffCard, digest_of, failed_demands, sign_offs_of_model
from finetune_engine.evaluate.worth.assumptions import Assumptions
from finetune_engine.evaluate.worth.roi import Kpis, kpis

MOST_FINDINGS = 5
DEMANDS = ("acceptance", "regressions")
"""The names under which the engine tells of rules and of cases that must not be forgotten."""


@dataclass(frozen=True)
class WholeReport:
    """A finished evaluation with everything around it. ``reasons`` are the gravest findings; ``sections`` stand in the
    order in which they are shown after the figures, ``printed`` is all of them for files."""

    evaluation: Evaluation
    card: EvaluationCard
    view: EvaluationView
    at: Reading
    sha256: str
    reasons: list[Note]
    advice: list[Advice]
    headline: Forest | None
    overall: Section | None
    sections: list[Section]
    printed: list[Section]
    human: Mapping[str, Any] | None
    kpis: Kpis
    assumptions: Assumptions
    lineage: Mapping[str, Any]
    signatures: list[SignOffCard]
    finished_at: datetime

    @property
    def signature(self) -> SignOffCard | None:
        """The newest that is valid, one on this very report before others; None without any."""
        valid = [one for one in self.signatures if one.is_valid]
        return next((one for one in valid if one.rests_on_this), valid[0] if valid else None)

    @property
    def contents(self) -> list[tuple[str, str]]:
        """Anchors and headings of what the page shows."""
        shown = [("figures", _("The figures")), *((section.key, section.title) for section in self.sections)]
        return [*shown, ("sign-off", _("Sign-off"))]

    def section(self, key: str) -> Section | None:
        """One section by its key."""
        return next((section for section in self.printed if section.key == key), None)


def whole_report(evaluation: Evaluation) -> WholeReport:
    """The report of a finished evaluation. Four queries beside the evaluation's own (fetched with
    ``trained_model__training_job__snapshot`` and ``snapshot__dataset``)."""
    view = evaluation_view(evaluation)
    at = Reading.of(evaluation.report)
    found = human_verdict(evaluation)
    human = found.as_dict() if found else None
    given = worth.assumptions_for(evaluation.project)
    figures = kpis(evaluation.report, given, human)
    digest, told = digest_of(evaluation.report), lineage(evaluation)
    sections = _sections(at, evaluation, human, figures, given, told)
    overall = summary.overall_section(at)
    return WholeReport(
        evaluation=evaluation,
        card=view.card,
        view=view,
        at=at,
        sha256=digest,
        reasons=_reasons(at),
        advice=advice_of(at, human),
        headline=summary.headline_plot(view.rows),
        overall=overall,
        sections=sections,
        printed=_printed(at, view, overall, sections),
        human=human,
        kpis=figures,
        assumptions=given,
        lineage=told,
        signatures=sign_offs_of_model(evaluation.trained_model, digest),
        finished_at=evaluation.work.finished_at or evaluation.created_at,
    )


def _sections(
    at: Reading,
    evaluation: Evaluation,
    human: Mapping[str, Any] | None,
    figures: Kpis,
    given: Assumptions,
    told: Mapping[str, Any],
) -> list[Section]:
    waits = bool((at.part("quality") or {}).get("sample_for_review"))
    found = [
        rules_section(at),
        robustness_section(at),
        fairness_section(at),
        forgetting_section(at),
        speed_section(at),
        cost_section(at),
        slices_section(at),
        clusters_section(at),
        human_section(human, waits),
        judge_section(at, human),
        calibration_section(at),
        prompting_section(at),
        worth.worth_section(at, figures, given),
        lineage_section(at, told),
        limitations_section(at, evaluation),
    ]
    return [section for section in found if section is not None]


def _printed(at: Reading, view: EvaluationView, overall: Section | None, sections: list[Section]) -> list[Section]:
    top = [
        overall,
        summary.figures_section(view.rows),
        summary.classes_section(view.classes, view.confusion),
        summary.cases_section(at, view.groups),
    ]
    return [*(section for section in top if section is not None), *sections, summary.run_section(view.run)]


def _reasons(at: Reading) -> list[Note]:
    """What was demanded and is not kept, then the gravest findings of all suites."""
    order: dict[str, Tone] = {"bad": "bad", "warn": "warn"}
    told = [one for one in at.part("findings") or () if one.get("tone") in order]
    told.sort(key=lambda one: (one.get("suite") not in DEMANDS, one["tone"] != "bad"))
    broken = [] if any(one.get("suite") in DEMANDS for one in told) else failed_demands(at.report)
    found = [Note("bad", _("Broken: %(name)s.") % {"name": name}, is_user=True) for name in broken]
    found += [Note(order[one["tone"]], str(one.get("text") or ""), is_user=True) for one in told]
    return found[:MOST_FINDINGS]
