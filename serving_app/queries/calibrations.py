"""What is known of how often a model is right when it is so sure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet, Sum
from django.utils import timezone

from evaluation_app.models import Evaluation
from finetune_engine.serve.calibration import Curve
from finetune_engine.serve.thresholds import Choice, Share, delivered_at, threshold_for
from jobs_app.models import TrainedModel
from serving_app.models import Calibration, Deployment, TrafficBucket
from work_kit.choices import State

WEEK = timedelta(days=7)
LEAST_DAYS = 1 / 24
EVALUATIONS = 10


def newest_curve(trained_model_id: str | None) -> Curve | None:
    """The curve of the newest calibration of this model; None when it was never calibrated (or there is no such model)."""
    if trained_model_id is None:
        return None
    found = usable_calibrations().filter(trained_model_id=trained_model_id).order_by("-id").values("curve").first()
    return None if found is None else curve_of(found["curve"])


def usable_calibrations() -> QuerySet[Calibration]:
    """Those that have a curve. An empty one only says why nothing could be learnt from its evaluation."""
    return Calibration.objects.exclude(curve={})


def curve_of(stored: dict[str, list[float]]) -> Curve:
    """The curve as it is stored in ``Calibration.curve``."""
    return Curve(tuple(stored["x"]), tuple(stored["y"]))


def calibrations_of(model: TrainedModel) -> QuerySet[Calibration]:
    """The calibrations of a model, newest first."""
    return Calibration.objects.filter(trained_model=model).select_related("evaluation", "created_by").order_by("-id")


@dataclass(frozen=True)
class ConfidenceView:
    """What the page says of the model that answers. ``calibration`` is its newest usable one, None when there is none; then
    ``refused`` is why the newest evaluation gave none (empty: none was tried). ``now`` is what the threshold in use delivers on
    held-out rows, None without one or without a curve. ``answers_per_day`` is the mean of the last week, None without traffic."""

    deployment: Deployment
    calibration: Calibration | None
    refused: str
    now: Share | None
    answers_per_day: float | None
    evaluations: list[Evaluation]

    @property
    def report(self) -> dict[str, Any]:
        """What was measured; empty without a calibration."""
        return self.calibration.report if self.calibration else {}

    def choice_for(self, promised: float) -> Choice | None:
        """The threshold that keeps a promise; None without a calibration. Raises UserError for a promise that is no share."""
        return threshold_for(promised, self.report) if self.calibration else None

    def people_per_day(self, share: Share) -> float | None:
        """How many answers a day would wait for a person."""
        return None if self.answers_per_day is None else self.answers_per_day * share.people


def confidence_view(deployment: Deployment) -> ConfidenceView:
    """All that is known of how sure the deployed model is."""
    model = deployment.trained_model
    tried = Calibration.objects.none() if model is None else calibrations_of(model)
    newest = tried.first()
    usable = newest if newest is None or newest.curve else tried.exclude(curve={}).first()
    threshold = deployment.ask_human_below
    return ConfidenceView(
        deployment=deployment,
        calibration=usable,
        refused=str(newest.report.get("sentence") or "") if newest is not None and not newest.curve else "",
        now=delivered_at(threshold, usable.report) if usable is not None and threshold is not None else None,
        answers_per_day=answers_per_day(deployment),
        evaluations=[] if model is None else list(_evaluations_of(model)[:EVALUATIONS]),
    )


def answers_per_day(deployment: Deployment) -> float | None:
    """Answers of this deployment a day, over the last week or since it came into use; None when it gave none."""
    now = timezone.now()
    since = max(now - WEEK, deployment.activated_at or deployment.created_at)
    row = TrafficBucket.objects.filter(
        project_id=deployment.project_id, deployment_ref=deployment.pk, is_shadow=False, start_at__gte=now - WEEK
    ).aggregate(asked=Sum("requests"), refused=Sum("refused"), failed=Sum("failed"), left=Sum("left"))
    answered = (row["asked"] or 0) - (row["refused"] or 0) - (row["failed"] or 0) - (row["left"] or 0)
    days = max((now - since) / timedelta(days=1), LEAST_DAYS)
    return answered / days if answered > 0 else None


def _evaluations_of(model: TrainedModel) -> QuerySet[Evaluation]:
    rows = Evaluation.objects.filter(trained_model=model, work__state=State.SUCCEEDED).exclude(samples_name="")
    return rows.select_related("snapshot__dataset").order_by("-id")
