"""Freezing a dataset."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Max

from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.choices import DEFAULT_SPLIT, SPLITS, DatasetState, PiiAction, SnapshotState, TaskType
from datasets_app.models import Dataset, Snapshot
from datasets_app.queries.policy import all_kinds, pii_policy
from finetune_engine.errors import UserError
from work_kit.models import Job
from work_kit.operations import submit_job

SNAPSHOT_KIND = "datasets.snapshot"
NEAR_DUPLICATES = "near_duplicates"  # as ``group_by``: what the engine does in any case


def create_snapshot(
    *,
    actor: Actor,
    dataset: Dataset,
    split: dict[str, float] | None = None,
    seed: int = 42,
    stratify_by: str | None = "auto",
    group_by: str | None = None,
    pii: dict[str, str] | None = None,
    idempotency_key: str | None = None,
) -> Snapshot:
    """Start freezing the accepted and flagged rows. ``split`` None means 80/10/10; ``stratify_by`` "auto" keeps the
    share of each label equal in all splits of a classification; ``group_by`` names a metadata column whose equal
    values stay together (``near_duplicates`` is always done); ``pii`` (``{kind: mask | reject | keep}``) overrides
    the project's decisions for this snapshot. The same ``idempotency_key`` returns the first snapshot.

    Raises UserError when the dataset is not ready, has no usable row, or the split makes no sense.
    """
    shares = _shares(split)
    decisions = pii_policy(actor.project) | _decisions(pii)
    if stratify_by == "auto":
        stratify_by = "label" if dataset.task_type == TaskType.CLASSIFICATION else None
    if stratify_by not in {None, "", "label"}:
        raise UserError("bad_stratify_by", "Rows can be balanced by 'label' or not at all.", field="stratify_by")
    with transaction.atomic():
        dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
        _check_dataset(dataset)
        _check_group(dataset, group_by)
        last = Snapshot.objects.filter(dataset=dataset).aggregate(last=Max("number"))["last"] or 0
        snapshot = Snapshot.objects.create(
            project=actor.project,
            dataset=dataset,
            number=last + 1,
            split=shares,
            seed=seed,
            stratify_by=stratify_by or "",
            group_by=(group_by or "")[:200],
            task_type=dataset.task_type,
            pii=decisions,
            created_by=actor.user,
            created_by_key=actor.api_key,
        )
        job = submit_job(
            actor=actor,
            kind=SNAPSHOT_KIND,
            title=f"Freeze {dataset.name} v{snapshot.number}",
            params={"snapshot": snapshot.pk},
            idempotency_key=idempotency_key,
        )
        if job.params.get("snapshot") != snapshot.pk:
            snapshot.delete()
            return Snapshot.objects.get(project=actor.project, pk=job.params["snapshot"])
        snapshot.job = job
        snapshot.save(update_fields=["job"])
        record(
            actor=actor,
            project=actor.project,
            act="snapshot.create",
            subject=f"snapshot {snapshot.pk}",
            data={"dataset": dataset.pk, "number": snapshot.number, "split": shares, "seed": seed, "pii": decisions},
        )
    return snapshot


def _check_dataset(dataset: Dataset) -> None:
    if dataset.deleted_at is not None:
        raise UserError("dataset_deleted", "This dataset was deleted.", status=404)
    if dataset.state == DatasetState.PROCESSING:
        raise UserError(
            "dataset_not_ready", "This dataset is still being checked. Try again when it is ready.", status=409
        )
    if dataset.state == DatasetState.FAILED:
        raise UserError("dataset_failed", "This dataset could not be read, so there is nothing to freeze.", status=409)
    if dataset.usable == 0:
        raise UserError(
            "no_examples", "This dataset has no usable row. Accept some rows, or upload a mended file, then freeze it."
        )


def _check_group(dataset: Dataset, group_by: str | None) -> None:
    """A column that no row has would keep nothing together, in silence."""
    known = [*dataset.columns, *((dataset.mapping or {}).get("metadata") or [])]
    if group_by and group_by != NEAR_DUPLICATES and known and group_by not in known:
        shown = ", ".join(str(column) for column in known[:12])
        raise UserError(
            "unknown_column",
            f"This dataset has no column {group_by[:60]!r} to keep rows together by. It has: {shown}.",
            field="group_by",
        )


def _decisions(pii: Any) -> dict[str, str]:
    """The request's own decisions about personal data, checked."""
    if pii is None:
        return {}
    if not isinstance(pii, dict):
        raise UserError("bad_pii", 'Decisions about personal data look like {"email": "mask"}.', field="pii")
    kinds, actions = all_kinds(), PiiAction.values
    for kind, action in pii.items():
        if kind not in kinds:
            raise UserError(
                "bad_pii", f"There is no kind of personal data {str(kind)[:40]!r}; use {', '.join(kinds)}.", field="pii"
            )
        if action not in actions:
            raise UserError("bad_pii", f"What to do with {kind} is one of {', '.join(actions)}.", field="pii")
    return {str(kind): str(action) for kind, action in pii.items()}


def _shares(split: Any) -> dict[str, float]:
    """The three shares, adding up to 1. Percentages (80/10/10) are taken for what they are."""
    if split is None:
        return dict(DEFAULT_SPLIT)
    if not isinstance(split, dict):
        raise UserError("bad_split", 'A split looks like {"train": 0.8, "validation": 0.1, "test": 0.1}.', "split")
    if unknown := sorted(str(name) for name in set(split) - set(SPLITS)):
        raise UserError("bad_split", f"There is no split {unknown[0][:40]!r}; use {', '.join(SPLITS)}.", field="split")
    values: dict[str, float] = {}
    for name in SPLITS:
        value = split.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
            raise UserError("bad_split", f"The share of {name} must be a number from 0 to 1.", field="split")
        values[name] = float(value)
    total = sum(values.values())
    if abs(total - 100) < 0.5:
        values = {name: value / 100 for name, value in values.items()}
    elif abs(total - 1) > 0.005:
        raise UserError("bad_split", f"The shares add up to {total:g}; they must add up to 1 (100 %).", field="split")
    if values["train"] <= 0:
        raise UserError("bad_split", "The share of train must be above 0: the model learns from it.", field="split")
    return {name: value / sum(values.values()) for name, value in values.items()}


# --- what the snapshot job writes (called by the runner) ------------------------------------------------------


def finish_snapshot(*, job: Job, manifest: dict[str, Any], storage_prefix: str) -> Snapshot | None:
    """The frozen copy exists. Inside the job's last transaction. None when it was deleted meanwhile."""
    moved = Snapshot.objects.filter(pk=job.params["snapshot"], state=SnapshotState.PROCESSING).update(
        state=SnapshotState.READY,
        error={},
        sha256=manifest["sha256"],
        counts=manifest["counts"],
        labels=manifest.get("labels") or {},
        statistics=manifest.get("statistics") or {},
        leakage=manifest.get("leakage") or {},
        personal=manifest.get("personal") or {},
        task_type=str(manifest.get("task_type") or "")[:20],
        storage_prefix=storage_prefix,
    )
    return Snapshot.objects.get(pk=job.params["snapshot"]) if moved else None


def fail_snapshot(*, job: Job, error: dict[str, Any]) -> None:
    """The frozen copy could not be made. Inside the transaction that ends the job."""
    Snapshot.objects.filter(pk=job.params.get("snapshot"), state=SnapshotState.PROCESSING).update(
        state=SnapshotState.FAILED, error=error
    )
