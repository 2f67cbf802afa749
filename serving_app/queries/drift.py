"""What was asked lately, what the model was taught, and what their comparison said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from accounts_app.models import Project
from datasets_app.queries import snapshot_parquet
from evaluation_app.queries import latest_verdict
from serving_app.choices import DeploymentRole, DeploymentState
from serving_app.models import Deployment, DriftReport, Prediction

LOOKED_BACK = timedelta(days=7)
MOST_QUESTIONS = 2_000
MOST_EXAMPLES = 5
_BATCH_ROWS = 5_000


@dataclass(frozen=True)
class Judged:
    """What an evaluation said: the mean confidence and the share of right answers over ``n`` cases."""

    confidence: float
    right: float
    n: int


def newest_report(project: Project) -> DriftReport | None:
    """The newest comparison for what is in use now; None while there is none. Without its large profiles."""
    rows = DriftReport.objects.filter(
        project=project, deployment__state=DeploymentState.ACTIVE, deployment__role=DeploymentRole.MAIN
    )
    return rows.defer("baseline").order_by("-id").first()


def unlike_examples(report: DriftReport) -> list[Prediction]:
    """Questions of the log that are most unlike the training data, as the log may show them; those deleted since are left out."""
    wanted = [str(one) for one in report.profile.get("examples") or ()]
    rows = {row.request_id: row for row in Prediction.objects.filter(project=report.project_id, request_id__in=wanted)}
    return [rows[one] for one in wanted if one in rows and rows[one].question_text][:MOST_EXAMPLES]


def deployments_due(before: datetime) -> list[Deployment]:
    """What is in use, was trained here, and was not compared since ``before``."""
    rows = Deployment.objects.filter(state=DeploymentState.ACTIVE, role=DeploymentRole.MAIN)
    rows = rows.exclude(trained_model=None).exclude(drift_reports__at__gte=before)
    return list(rows.select_related("project", "trained_model__training_job__snapshot"))


def stored_baseline(deployment: Deployment) -> dict[str, Any]:
    """The profile of the training questions from an earlier comparison of the same model; empty without one."""
    rows = DriftReport.objects.filter(
        Q(deployment=deployment) | Q(deployment__trained_model=deployment.trained_model_id),
        project=deployment.project_id,
    )
    row = rows.order_by("-id").first()
    return dict(row.baseline) if row is not None else {}


def training_questions(deployment: Deployment, most: int = 20_000) -> list[str]:
    """What the deployed model was taught to answer: the questions of its snapshot's train rows (at most ``most``). Empty when the
    snapshot is gone. Reads a file, and may fetch it from storage."""
    import pyarrow.parquet as pq

    trained = deployment.trained_model
    snapshot = trained.training_job.snapshot if trained is not None else None
    if snapshot is None or snapshot.storage_prefix == "":
        return []
    found: list[str] = []
    with pq.ParquetFile(snapshot_parquet(snapshot)) as parquet:
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=["prompt", "split"], use_threads=False):
            rows = zip(batch["prompt"].to_pylist(), batch["split"].to_pylist(), strict=True)
            found += [prompt for prompt, split in rows if split == "train" and prompt]
            if len(found) >= most:
                break
    return found[:most]


def recent_questions(deployment: Deployment) -> list[tuple[str, str]]:
    """``(request id, question)`` of the newest answers of this deployment within ``LOOKED_BACK``, the newest first. Only whole
    answers, none from a cache and none that listened along: a question asked a hundred times is one."""
    since = timezone.now() - LOOKED_BACK
    rows = Prediction.objects.filter(
        project=deployment.project_id, deployment=deployment, at__gte=since, status=200, cached=False, shadow_of=""
    ).exclude(question_text="")
    return list(rows.order_by("-id").values_list("request_id", "question_text")[:MOST_QUESTIONS])


def judged_before(deployment: Deployment) -> Judged | None:
    """What the newest evaluation of the deployed model says of confidence and truth; None where it was not measured."""
    if deployment.trained_model is None:
        return None
    evaluation = latest_verdict(deployment.trained_model)
    found = ((evaluation.report.get("quality") or {}).get("calibration") if evaluation else None) or {}
    bins: list[Mapping[str, Any]] = [
        one for one in found.get("bins") or () if one.get("n") and one.get("confidence") is not None
    ]
    total = sum(int(one["n"]) for one in bins)
    if not total:
        return None
    return Judged(
        sum(int(one["n"]) * float(one["confidence"]) for one in bins) / total,
        sum(int(one["n"]) * float(one["accuracy"] or 0) for one in bins) / total,
        total,
    )
