"""Evaluations as lists show them, and what a sample can show before it is used."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts_app.models import Project
from evaluation_app.choices import VERDICT_TONES, VerdictKind
from evaluation_app.models import Evaluation
from finetune_engine.evaluate.power import missed_share
from jobs_app.models import TrainedModel
from web_kit.wording import number_words
from work_kit.choices import OPEN, State
from work_kit.queries import JobCard, job_card

PILOT_DISCORDANCE = 0.2
PILOT_GAIN = 0.15
_LARGEST_PILOT = 2_000  # beyond it such a gain is practically never missed, and the sum grows long


@dataclass(frozen=True)
class EvaluationCard:
    """A line of the list. ``verdict_label`` is empty until there is a verdict; then ``tone`` is its colour."""

    id: str
    model_id: str
    model_name: str
    data_name: str
    split_label: str
    job: JobCard
    verdict: str
    verdict_label: str
    tone: str
    sentence: str
    created_at: datetime


def evaluations_of(project: Project) -> QuerySet[Evaluation]:
    """The project's evaluations, newest first, without their reports."""
    return (
        Evaluation.objects.filter(project=project)
        .select_related("trained_model", "snapshot", "snapshot__dataset", "work")
        .defer("report")
        .order_by("-id")
    )


def evaluation_card(evaluation: Evaluation) -> EvaluationCard:
    """One evaluation in plain words."""
    snapshot = evaluation.snapshot
    return EvaluationCard(
        id=evaluation.pk,
        model_id=evaluation.trained_model_id,
        model_name=evaluation.trained_model.name,
        data_name=_("%(data)s, snapshot %(number)s") % {"data": snapshot.dataset.name, "number": snapshot.number},
        split_label=str(evaluation.get_split_display()),
        job=job_card(evaluation.work),
        verdict=evaluation.verdict,
        verdict_label=str(VerdictKind(evaluation.verdict).label) if evaluation.verdict else "",
        tone=VERDICT_TONES.get(evaluation.verdict, "idle"),
        sentence=evaluation.verdict_sentence,
        created_at=evaluation.created_at,
    )


def latest_evaluation(trained_model: TrainedModel) -> Evaluation | None:
    """The model's newest evaluation, whatever its state; None when there is none."""
    return _of_model(trained_model).first()


def latest_verdict(trained_model: TrainedModel) -> Evaluation | None:
    """The model's newest finished evaluation; None when it was never judged."""
    return _of_model(trained_model).filter(work__state=State.SUCCEEDED).first()


def latest_verdicts(model_ids: Collection[str]) -> list[EvaluationCard]:
    """The newest finished evaluation of each of these models that has one. One query."""
    rows = Evaluation.objects.filter(trained_model__in=model_ids, work__state=State.SUCCEEDED).defer("report")
    rows = rows.select_related("trained_model", "snapshot", "snapshot__dataset", "work").order_by("id")
    newest = {evaluation.trained_model_id: evaluation for evaluation in rows}
    return [evaluation_card(evaluation) for evaluation in newest.values()]


def _of_model(trained_model: TrainedModel) -> QuerySet[Evaluation]:
    rows = Evaluation.objects.filter(trained_model=trained_model)
    return rows.select_related("trained_model", "snapshot", "snapshot__dataset", "work").order_by("-id")


def use_of_model(model: TrainedModel) -> str:
    """Whether the model is being judged at this moment, as a sentence with the way out; empty when not."""
    if Evaluation.objects.filter(trained_model=model, work__state__in=OPEN).exists():
        return "This model is being evaluated. Wait for the end or cancel the evaluation, then delete it."
    return ""


def sample_power(cases: int) -> str:
    """What this many cases can show, as a sentence, before anything runs: how often a gain of 15 points is missed
    when the two models differ on a fifth of the cases."""
    if cases < 1:
        return _("There are no cases to judge by.")
    missed = missed_share(min(cases, _LARGEST_PILOT), discordance=PILOT_DISCORDANCE, gain=PILOT_GAIN)
    tenths = round(missed * 10)
    if tenths <= 0:
        return _("%(n)s cases: a 15-point gain is practically never missed.") % {"n": number_words(cases)}
    if tenths >= 10:
        return _("%(n)s cases: even a 15-point gain is almost always missed.") % {"n": number_words(cases)}
    return _("%(n)s cases: a 15-point gain is missed %(tenths)s times in 10.") % {
        "n": number_words(cases),
        "tenths": tenths,
    }
