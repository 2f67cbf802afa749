"""Comparing what is asked with what was taught. Runs where jobs run, not where pages are answered."""

from __future__ import annotations

from datetime import timedelta
from logging import getLogger
from typing import TYPE_CHECKING

from django.db import DatabaseError
from django.utils import timezone

from finetune_engine.errors import UserError
from serving_app.models import Deployment, DriftReport
from serving_app.queries.calibrations import usable_calibrations
from serving_app.queries.drift import (
    LOOKED_BACK,
    deployments_due,
    judged_before,
    recent_questions,
    stored_baseline,
    training_questions,
)
from serving_app.queries.watch import CONFIDENCE_MIDDLES, recent_figures, verdict_counts

if TYPE_CHECKING:
    from finetune_engine.serve.drift import DriftFinding, Profile

logger = getLogger(__name__)

EVERY = timedelta(hours=6)
KEPT_REPORTS = 60
FEWEST_VERDICTS = 30
KEPT_IN_PROFILE = 20


def look_for_drift() -> int:
    """Compare anew what is in use and was not compared for ``EVERY``; returns how many reports were written. A deployment whose
    data cannot be read does not keep the others waiting."""
    written = 0
    for deployment in deployments_due(timezone.now() - EVERY):
        try:
            written += compare_deployment(deployment=deployment) is not None
        except (UserError, OSError, ValueError) as error:
            logger.warning("deployment %s could not be compared with its data: %s", deployment.pk, type(error).__name__)
        except DatabaseError:
            logger.exception("deployment %s could not be compared with its data", deployment.pk)
    return written


def compare_deployment(*, deployment: Deployment) -> DriftReport | None:
    """One comparison of the last week with the training data, with the oldest reports put away. None when too little was asked or
    the training data is gone."""
    from finetune_engine.serve import drift

    asked = recent_questions(deployment)
    if len(asked) < drift.FEWEST:
        return None
    baseline = stored_baseline(deployment) or _baseline(deployment)
    if not baseline:
        return None
    profile = drift.profile_of([question for _id, question in asked], baseline)
    findings = [*drift.compare(profile, baseline), *_judged(deployment)]
    unlike = [asked[place][0] for place in profile.pop("unlike", [])]
    report = DriftReport.objects.create(
        project=deployment.project,
        deployment=deployment,
        questions=len(asked),
        since=timezone.now() - LOOKED_BACK,
        baseline=baseline,
        profile=profile | {"examples": unlike[:KEPT_IN_PROFILE]},
        findings=[finding.as_dict() for finding in findings],
    )
    old = DriftReport.objects.filter(deployment=deployment).order_by("-id").values_list("pk", flat=True)
    DriftReport.objects.filter(pk__in=list(old[KEPT_REPORTS : KEPT_REPORTS + 100])).delete()
    return report


def _baseline(deployment: Deployment) -> Profile:
    from finetune_engine.serve import drift

    questions = training_questions(deployment)
    return drift.baseline_of(questions) if len(questions) >= drift.FEWEST else {}


def _judged(deployment: Deployment) -> list[DriftFinding]:
    """Confidence and acceptance against what the evaluation found, where both are known of enough answers."""
    from finetune_engine.serve import drift

    before = judged_before(deployment)
    if before is None:
        return []
    found = []
    minutes = int(LOOKED_BACK.total_seconds() // 60)
    confidences = recent_figures(deployment.project, minutes, deployment_id=deployment.pk).confidence
    if sum(confidences) >= drift.FEWEST:
        # A calibrated confidence says how many answers are right, and so is measured against that.
        is_calibrated = usable_calibrations().filter(trained_model=deployment.trained_model).exists()
        expected = before.right if is_calibrated else before.confidence
        found.append(drift.compare_confidence(confidences, expected, before.n, CONFIDENCE_MIDDLES))
    good, bad = verdict_counts(deployment.project, minutes, deployment_id=deployment.pk)
    if good + bad >= FEWEST_VERDICTS:
        found.append(drift.compare_acceptance(good, good + bad, before.right, before.n))
    return found
