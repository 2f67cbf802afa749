"""Evaluations as lists show them, and what a sample can show before it is used."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from accounts_app.models import Project
from evaluation_app.choices import VERDICT_TONES, MetricWords, VerdictKind, metric_words
from evaluation_app.models import Contender, Evaluation
from finetune_engine.evaluate.statistics.power import missed_share
from jobs_app.models import ProviderConnection, TrainedModel
from web_kit.wording import number_words, percent_words
from work_kit.choices import OPEN, State
from work_kit.queries import JobCard, job_card

PILOT_DISCORDANCE = 0.2
PILOT_GAIN = 0.15
_LARGEST_PILOT = 2_000  # beyond it such a gain is practically never missed, and the sum grows long


@dataclass(frozen=True)
class EvaluationCard:
    """A line of the list. ``verdict_label`` is empty until there is a verdict; then ``tone`` is its colour. ``headline`` is the
    deciding figure's name in plain words, empty while there is no figure; ``overall_score`` 0..1."""

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
    headline: str = ""
    headline_words: str = ""
    interval_words: str = ""
    overall_score: float | None = None
    cases: int | None = None

    @property
    def first_sentence(self) -> str:
        """The verdict without what follows from it."""
        return first_sentence(self.sentence)

    @property
    def further_sentences(self) -> str:
        """What follows from the verdict and qualifies it; empty when nothing does."""
        return self.sentence[len(self.first_sentence) :].strip()

    @property
    def overall_words(self) -> str:
        """``74 of 100``; empty without an overall score."""
        return overall_words(self.overall_score)


def first_sentence(text: str) -> str:
    """What stands before the first full stop that ends a sentence."""
    return re.split(r"(?<=[.!?])\s+(?=[^\W\d_a-z])", text, maxsplit=1)[0]


def overall_words(score: float | None) -> str:
    """An overall score (0..1) as the report says it."""
    return "" if score is None else _("%(n)s of 100") % {"n": number_words(100 * score, 0)}


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
        overall_score=evaluation.overall_score,
        cases=evaluation.cases,
        **_headline(evaluation),
    )


def evaluation_cards(evaluations: Iterable[Evaluation]) -> list[EvaluationCard]:
    """Several evaluations in plain words. Finished ones from before the figures had columns of their own get them from
    their reports, in one query."""
    rows = list(evaluations)
    older = {row.pk: row for row in rows if row.verdict and not row.headline}
    if older:
        fields = ("pk", "report__headline", "report__models", "report__subject", "report__n")
        for pk, headline, models, subject, n in Evaluation.objects.filter(pk__in=older).values_list(*fields):
            score = headline_score({"headline": headline, "models": models, "subject": subject})
            older[pk].headline, older[pk].cases = str(headline or ""), n
            older[pk].headline_value = score.get("value")
            older[pk].headline_low, older[pk].headline_high = score.get("ci_low"), score.get("ci_high")
    return [evaluation_card(row) for row in rows]


def headline_score(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The deciding score of the report's subject, which older reports call ``tuned``; empty when there is none."""
    subject = report.get("subject") or "tuned"
    model = next((model for model in report.get("models") or () if model.get("key") == subject), None) or {}
    wanted = report.get("headline")
    return next((score for score in model.get("scores") or () if score.get("metric") == wanted), {})


def _headline(evaluation: Evaluation) -> dict[str, str]:
    """The deciding figure in words, for the columns of the card that start empty."""
    if not evaluation.headline or evaluation.headline_value is None:
        return {}
    words = metric_words(evaluation.headline)
    low, high = evaluation.headline_low, evaluation.headline_high
    interval = ""
    if low is not None and high is not None:
        interval = _("%(low)s to %(high)s") % {"low": figure_words(low, words), "high": figure_words(high, words)}
    return {
        "headline": str(words.plain),
        "headline_words": figure_words(evaluation.headline_value, words),
        "interval_words": interval,
    }


def figure_words(value: float, words: MetricWords) -> str:
    """A figure in its metric's unit."""
    if words.unit == "share":
        return percent_words(value)
    return number_words(value, 1 if words.unit == "hundred" else 2)


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
    if Contender.objects.filter(trained_model=model, evaluation__work__state__in=OPEN).exists() or (
        Evaluation.objects.filter(trained_model=model, work__state__in=OPEN).exists()
    ):
        return _("This model is being evaluated. Wait for the end or cancel the evaluation, then delete it.")
    return ""


def use_of_connection(connection: ProviderConnection) -> str:
    """Whether an evaluation that waits or runs needs the key, for a model or its judge, as a sentence with the way out."""
    waiting = Evaluation.objects.filter(project=connection.project_id, work__state__in=OPEN)
    if waiting.filter(Q(contenders__connection=connection) | Q(settings__judge__connection=connection.pk)).exists():
        return _("An evaluation uses this key now. Wait for its end, or cancel it first.")
    return ""


def sample_power(cases: int, discordance: float = PILOT_DISCORDANCE) -> str:
    """What this many cases can show, as a sentence, before anything runs: how often a gain of 15 points is missed
    when the two models differ on this share (0..1) of the cases. Where they differ on fewer, no larger gain is possible."""
    if cases < 1:
        return _("There are no cases to judge by.")
    gain = min(PILOT_GAIN, discordance)
    missed = missed_share(min(cases, _LARGEST_PILOT), discordance=discordance, gain=gain)
    tenths = round(missed * 10)
    told = {"n": number_words(cases), "gain": round(gain * 100), "tenths": tenths}
    if tenths <= 0:
        return _("%(n)s cases: a %(gain)s-point gain is practically never missed.") % told
    if tenths >= 10:
        return _("%(n)s cases: even a %(gain)s-point gain is almost always missed.") % told
    return _("%(n)s cases: a %(gain)s-point gain is missed %(tenths)s times in 10.") % told
