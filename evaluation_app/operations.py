"""Everything that changes evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.models import Snapshot
from evaluation_app.choices import Split, Suite
from evaluation_app.models import Evaluation
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from jobs_app.queries import refuse_without_files
from work_kit.operations import submit_job

KIND = "evaluation.run"


def start_evaluation(
    *,
    actor: Actor,
    trained_model: TrainedModel,
    snapshot: Snapshot | None = None,
    split: str = Split.TEST,
    limit: int | None = None,
    suites: Sequence[str] | None = None,
    idempotency_key: str | None = None,
) -> Evaluation:
    """Queue a comparison of this model with its base model.

    ``snapshot`` None means the one it was trained from, ``limit`` None all its rows, ``suites`` None quality
    only. The same ``idempotency_key`` returns the first evaluation. Raises UserError for a split without rows,
    an unknown suite or a limit below 1, and PermissionDenied without the right to train.
    """
    actor.require(Act.TRAIN)
    chosen = snapshot or trained_model.training_job.snapshot
    _check(actor, trained_model, chosen, split, limit, suites)
    assert chosen is not None
    with transaction.atomic():
        job = submit_job(
            actor=actor,
            kind=KIND,
            title=f"Evaluate {trained_model.name}"[:200],
            params={},
            idempotency_key=idempotency_key,
        )
        first = Evaluation.objects.filter(pk=job.pk).first()
        if first is not None:
            return first
        evaluation = Evaluation.objects.create(
            id=job.pk,
            project=actor.project,
            trained_model=trained_model,
            snapshot=chosen,
            work=job,
            split=split,
            suites=list(suites or [Suite.QUALITY]),
            case_limit=limit,
            created_by=actor.user,
            created_by_key=actor.api_key,
        )
        record(
            actor=actor,
            project=actor.project,
            act="evaluation.start",
            subject=f"evaluation {evaluation.pk}",
            data={"trained_model": trained_model.pk, "snapshot": chosen.pk, "split": split},
        )
    return evaluation


def keep_report(*, evaluation_id: str, report: Mapping[str, Any], samples_name: str) -> None:
    """Store what an evaluation found. Called by its runner inside the guarded transaction of the job."""
    verdict = report.get("verdict") or {}
    Evaluation.objects.filter(pk=evaluation_id).update(
        report=dict(report),
        verdict=str(verdict.get("kind") or ""),
        verdict_sentence=str(verdict.get("sentence") or ""),
        samples_name=samples_name,
    )


def _check(
    actor: Actor,
    trained_model: TrainedModel,
    snapshot: Snapshot | None,
    split: str,
    limit: int | None,
    suites: Sequence[str] | None,
) -> None:
    if trained_model.project_id != actor.project.pk or (snapshot and snapshot.project_id != actor.project.pk):
        raise UserError("not_found", "There is no such model or snapshot in this project.", status=404)
    refuse_without_files(trained_model.remote_name)
    if snapshot is None:
        raise UserError(
            "no_snapshot",
            "This model was trained outside this site, so its test rows are not known. Choose a snapshot to judge it on.",
            field="snapshot",
        )
    if split not in Split.values:
        raise UserError(
            "unknown_split",
            f"The split {split!r} cannot be judged on: choose {' or '.join(Split.values)}. "
            "Rows that the model has learnt say nothing about new ones.",
            field="split",
        )
    unknown = sorted(set(suites or []) - set(Suite.values))
    if unknown:
        raise UserError(
            "unknown_suite", f"Unknown suite {unknown[0]!r}: choose among {', '.join(Suite.values)}.", field="suites"
        )
    if limit is not None and limit < 1:
        raise UserError("bad_limit", "The number of rows must be at least 1. Leave it empty for all.", field="limit")
    if not (snapshot.counts or {}).get(split):
        raise UserError(
            "empty_split",
            f"Snapshot {snapshot.number} has no {split} rows. Choose another snapshot or another part.",
            field="snapshot",
        )
