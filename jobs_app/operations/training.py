"""Everything that changes training jobs and trained models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.models import Dataset, Example, Snapshot
from datasets_app.operations import create_snapshot
from datasets_app.queries import is_current, snapshots_of_dataset
from finetune_engine.errors import UserError
from jobs_app import queries, training_settings, uses
from jobs_app.choices import KIND, PROBE_KIND
from jobs_app.method_fit import check_method
from jobs_app.models import Checkpoint, ProviderConnection, TrainedModel, TrainingJob
from jobs_app.operations import checkpoints, remote_start
from web_kit.ids import new_id
from work_kit.choices import Queue
from work_kit.kinds import NotYet
from work_kit.models import Job
from work_kit.operations import note_job, submit_job

ROW_COUNTS_CODE = "row_counts"
WAIT_SECONDS = 1.0  # between two looks at data that is still being imported or frozen
SUFFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
WHOLE_SPLIT = {"train": 1.0, "validation": 0.0, "test": 0.0}  # for data that has its validation rows elsewhere


def start_training(
    *,
    actor: Actor,
    name: str,
    base_model_key: str,
    snapshot: Snapshot | None = None,
    dataset: Dataset | None = None,
    spec: Mapping[str, Any],
    suffix: str = "",
    metadata: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    openai_request: Mapping[str, Any] | None = None,
    request_sha256: str = "",
    validation_dataset: Dataset | None = None,
    parent_model: TrainedModel | None = None,
    cloned_from: TrainingJob | None = None,
    estimate: Mapping[str, Any] | None = None,
    connection: ProviderConnection | None = None,
    provider_settings: Mapping[str, Any] | None = None,
    cost_approved: bool = False,
) -> TrainingJob:
    """Put a training in the queue. ``spec`` holds the chosen TrainingSpec fields; what is left out is automatic.

    With a dataset instead of a snapshot its newest snapshot is used, or its rows are frozen first. The dataset may
    still be importing: then the job waits for it. ``validation_dataset`` holds rows of their own to check with,
    ``parent_model`` is the trained model to go on from, ``estimate`` what the person was told before. The same
    ``idempotency_key`` returns the first job. Raises UserError for settings, a base model or data that cannot be used.

    A base model that a provider trains goes out over ``connection`` (None: the fitting one) with ``provider_settings``
    (``n_epochs``, ``batch_size``, ``learning_rate_multiplier``, ``beta``); somebody has to say ``cost_approved`` first.
    """
    chosen = training_settings.checked(spec)
    suffix = checked_suffix(suffix)
    dataset = dataset or (snapshot.dataset if snapshot is not None else None)
    if dataset is None:
        raise UserError("data_missing", "Choose the data to learn from.", field="snapshot")
    _check_parent(parent_model, base_model_key)
    title = name.strip()[:120] or dataset.name[:120]
    remote = remote_start.plan(
        actor=actor, key=base_model_key, spec=chosen, connection=connection, parent=parent_model,
        asked=provider_settings, openai_request=openai_request,
    )  # fmt: skip
    if remote is None:
        queries.usable_base_model(base_model_key)
    with transaction.atomic():
        work = submit_job(
            actor=actor,
            kind=KIND,
            title=title,
            params={},
            idempotency_key=idempotency_key,
            queue=Queue.REMOTE if remote is not None else None,
        )
        first = TrainingJob.objects.filter(pk=work.pk).first()
        if first is not None:
            return first
        snapshot = _fitting_data(actor, chosen, dataset, snapshot, validation_dataset)
        training = TrainingJob.objects.create(
            id=work.pk,
            project=actor.project,
            work=work,
            name=title,
            suffix=suffix,
            base_model_key=base_model_key,
            dataset=dataset,
            snapshot=snapshot,
            validation_dataset=validation_dataset,
            parent_model=parent_model,
            cloned_from=cloned_from,
            estimate=dict(estimate or {}),
            spec=chosen,
            metadata=checked_metadata(metadata),
            openai_request=dict(openai_request or {}),
            request_sha256=request_sha256,
            created_by=actor.user,
            created_by_key=actor.api_key,
        )
        if remote is not None:
            remote_start.settle(
                actor=actor, training=training, plan=remote, data=snapshot or dataset, approved=cost_approved
            )
        if snapshot is not None and snapshot.state == "ready":
            tell_row_counts(work, dataset, snapshot)
    return training


def _fitting_data(
    actor: Actor, spec: Mapping[str, Any], dataset: Dataset, snapshot: Snapshot | None, validation: Dataset | None
) -> Snapshot | None:
    """The rows to learn from, once they are known to fit the method; None while the dataset is being imported."""
    if snapshot is None and dataset.state == "ready":
        check_method(spec, dataset.task_type, dataset)
        snapshot = _snapshot_of(actor, dataset, whole=validation is not None)
    _check_examples(dataset, snapshot)
    _check_validation(validation, dataset)
    check_method(spec, snapshot.task_type if snapshot is not None else dataset.task_type, dataset)
    return snapshot


def _check_parent(parent: TrainedModel | None, base_model_key: str) -> None:
    if parent is not None and parent.base_model_key != base_model_key:
        raise UserError(
            "parent_of_other_base",
            f"{parent.name!r} was made from the base model {parent.base_model_key!r}; a training that goes on from it "
            "needs the same base model.",
            field="parent_model",
            reason="bad_config",
        )


def checked_suffix(suffix: str) -> str:
    """The suffix without blanks around it. Raises UserError for signs that a model's name cannot hold."""
    suffix = suffix.strip()
    if suffix and not SUFFIX.fullmatch(suffix):
        raise UserError(
            "bad_suffix",
            "A suffix has up to 64 letters, digits, dots, dashes and underscores, and begins with a letter or digit.",
            field="suffix",
        )
    return suffix


def checked_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Up to 16 pairs of text, keys up to 64 and values up to 512 signs long. Raises UserError otherwise."""
    pairs = dict(metadata or {})
    fine = all(
        isinstance(key, str) and isinstance(value, str) and len(key) <= 64 and len(value) <= 512
        for key, value in pairs.items()
    )
    if len(pairs) > 16 or not fine:
        raise UserError(
            "bad_metadata",
            "metadata holds up to 16 pairs of text: keys up to 64 signs, values up to 512.",
            field="metadata",
        )
    return pairs


def freeze_data(*, training: TrainingJob, actor: Actor) -> Snapshot:
    """The job's snapshot, ready to use; freezes one when the dataset has become ready since.

    Raises NotYet while the data is being imported or frozen, and UserError when either failed.
    """
    snapshot = training.snapshot
    if snapshot is None:
        dataset = training.dataset
        if dataset is None:
            raise UserError("dataset_deleted", "The dataset of this job has been deleted. Choose another one.")
        if dataset.state == "failed":
            raise _carried("dataset_failed", f"The dataset {dataset.name!r} could not be imported.", dataset.error)
        if dataset.state == "ready":
            check_method(training.spec, dataset.task_type, dataset)
            with transaction.atomic():
                snapshot = _snapshot_of(actor, dataset, whole=training.validation_dataset is not None)
                TrainingJob.objects.filter(pk=training.pk).update(snapshot=snapshot)
        if snapshot is None or snapshot.state != "ready":
            raise NotYet(WAIT_SECONDS)
    if snapshot.state == "ready":
        check_method(training.spec, snapshot.task_type, snapshot.dataset)
        if not training.work.events.filter(kind="warn", data__code=ROW_COUNTS_CODE).exists():
            tell_row_counts(training.work, snapshot.dataset, snapshot)
        return snapshot
    if snapshot.state != "processing":
        raise _carried("snapshot_failed", "The rows of this dataset could not be frozen for training.", snapshot.error)
    raise NotYet(WAIT_SECONDS)


def freeze_validation(*, training: TrainingJob, actor: Actor) -> Snapshot | None:
    """The frozen rows of the job's validation data, all of which are used to check; None when it has none of its own.

    Raises NotYet and UserError as ``freeze_data``.
    """
    dataset = training.validation_dataset
    snapshot = training.validation_snapshot
    if snapshot is None:
        if dataset is None:
            return None
        if dataset.state == "failed":
            raise _carried(
                "dataset_failed",
                f"The validation data {dataset.name!r} could not be imported.",
                dataset.error,
                field="validation_file",
            )
        if dataset.state == "ready":
            with transaction.atomic():
                snapshot = _snapshot_of(actor, dataset, whole=True)
                TrainingJob.objects.filter(pk=training.pk).update(validation_snapshot=snapshot)
    if snapshot is None or snapshot.state == "processing":
        raise NotYet(WAIT_SECONDS)
    if snapshot.state != "ready":
        sentence = "The rows of the validation data could not be frozen."
        raise _carried("snapshot_failed", sentence, snapshot.error, field="validation_file")
    check_method(training.spec, snapshot.task_type, snapshot.dataset)
    return snapshot


def settle_passes(*, training: TrainingJob, snapshot: Snapshot) -> None:
    """OpenAI's ``n_epochs: "auto"``: decided now that the number of examples is known."""
    if training.openai_request and "num_train_epochs" not in training.spec:
        passes = training_settings.automatic_passes(int(snapshot.counts.get("train", 0)))
        training.spec = training.spec | {"num_train_epochs": float(passes)}
        training.save(update_fields=["spec"])


def tell_row_counts(work: Job, dataset: Dataset, snapshot: Snapshot) -> None:
    """The job's first warning: how many rows of the data are used, how many are not, and in how many personal data was
    replaced when they were frozen."""
    counts = {key: int(dataset.counts.get(key, 0)) for key in queries.ROW_COUNTS}
    personal = snapshot.personal or {}
    masked = {kind: int(rows) for kind, rows in (personal.get("masked") or {}).items() if int(rows)}
    masked_rows = (personal.get("rows") or {}).get("masked")
    note_job(
        job=work,
        kind="warn",
        data={
            "level": "warn",
            "code": ROW_COUNTS_CODE,
            "message": (
                f"Of {int(dataset.counts.get('total', sum(counts.values()))):,} rows, {counts['accepted']:,} are "
                f"accepted, {counts['flagged']:,} accepted with a remark, {counts['needs_review']:,} wait for review "
                f"and {counts['rejected']:,} are rejected. Rows that wait or are rejected are not trained on."
                f"{_masked_words(masked, masked_rows)}"
            ),
            "counts": counts,
            "masked": masked,
        },
    )


def _masked_words(masked: Mapping[str, int], rows_in_all: int | None) -> str:
    """By kind; a row that holds two kinds counts in both, so the sum is said only where it is known."""
    if not masked:
        return ""
    parts = [f"{rows:,} {'row' if rows == 1 else 'rows'} ({kind})" for kind, rows in sorted(masked.items())]
    if rows_in_all is None:
        return f" Personal data was replaced by placeholders in {', '.join(parts)}."
    return f" Personal data was replaced by placeholders in {rows_in_all:,} rows: {', '.join(parts)}."


def _snapshot_of(actor: Actor, dataset: Dataset, *, whole: bool = False) -> Snapshot:
    """The newest snapshot when freezing now would give the same rows, else a new one. A ``whole`` one keeps nothing
    back for validation and test; rows that the file itself or an earlier snapshot holds out stay out of training."""
    rows = [snapshot for snapshot in snapshots_of_dataset(dataset) if snapshot.state in {"ready", "processing"}]
    newest = next((row for row in rows if (row.split.get("train") == 1) is whole), None)
    if newest is not None and is_current(newest, dataset):
        decided = Example.objects.filter(dataset=dataset, import_attempt=dataset.import_attempt or 0)
        if not decided.exclude(decision="").filter(decided_at__gt=newest.created_at).exists():
            return newest
    _check_examples(dataset, None)
    return create_snapshot(actor=actor, dataset=dataset, split=dict(WHOLE_SPLIT) if whole else None)


def _check_validation(validation: Dataset | None, dataset: Dataset) -> None:
    if validation is None:
        return
    if validation.pk == dataset.pk:
        raise UserError(
            "validation_is_training",
            "The data to check with is the data to learn from, so it would show only what was learnt by heart. Choose "
            "other data, or none: then a part of the training data is kept back for the check.",
            field="validation_file",
            reason="bad_config",
        )
    if validation.state == "failed":
        sentence = f"The validation data {validation.name!r} could not be imported."
        raise _carried("dataset_failed", sentence, validation.error, field="validation_file")


def _check_examples(dataset: Dataset, snapshot: Snapshot | None) -> None:
    if dataset.state == "failed":
        raise _carried("dataset_failed", f"The dataset {dataset.name!r} could not be imported.", dataset.error)
    if snapshot is not None:
        empty = snapshot.state == "ready" and not snapshot.counts.get("train")
    else:
        usable = int(dataset.counts.get("accepted", 0)) + int(dataset.counts.get("flagged", 0))
        empty = dataset.state == "ready" and not usable
    if empty:
        raise UserError(
            "no_examples",
            "This dataset has no usable example: every row was rejected or waits for review. "
            "Open the dataset to see why, then accept or mend some rows.",
            field="snapshot",
        )


def _carried(code: str, sentence: str, cause: Mapping[str, Any] | None, *, field: str = "training_file") -> UserError:
    """A failure of the data, with the sentence of the job that met it."""
    detail = str((cause or {}).get("message") or "")
    return UserError(str((cause or {}).get("code") or code), f"{sentence} {detail}".strip(), field=field)


def delete_trained_model(*, actor: Actor, model: TrainedModel) -> None:
    """Delete a trained model and its files; with a training's own model go its checkpoints, but for those that became
    models. Raises UserError while something still uses it."""
    prefixes = [model.storage_prefix]
    rows = Checkpoint.objects.none()
    if model.checkpoint_step is None:
        rows = Checkpoint.objects.filter(training_job_id=model.training_job_id)
        prefixes += list(rows.filter(is_committed=True).values_list("storage_prefix", flat=True))
    with transaction.atomic():
        uses.refuse_if_used(model)
        record(actor=actor, project=actor.project, act="model.delete", subject=f"model {model.api_name}")
        rows.delete()
        model.delete()
        transaction.on_commit(lambda: checkpoints.discard(prefixes), robust=True)


def new_idempotency_key() -> str:
    """A value for the hidden field of a form, so that a double click makes one job."""
    return new_id()


def start_probe(
    *,
    actor: Actor,
    base_model_key: str,
    snapshot: Snapshot | None = None,
    dataset: Dataset | None = None,
    spec: Mapping[str, Any],
) -> Job:
    """Measure a few steps of this training on the machine that would run it. A test run of the same base model that is
    still open is returned instead of another. Raises UserError as ``start_training``, and for a provider's model."""
    chosen = training_settings.checked(spec)
    card = queries.usable_base_model(base_model_key, actor.project)
    if card.is_remote:
        raise UserError(
            "nothing_to_measure", f"{card.name} is trained at its provider, not on this machine.", field="base_model"
        )
    dataset = dataset or (snapshot.dataset if snapshot is not None else None)
    if dataset is None or (snapshot is None and dataset.state != "ready"):
        raise UserError("data_missing", "Choose data that has been checked, to measure with.", field="snapshot")
    with transaction.atomic():
        running = queries.open_probe(actor.project, base_model_key)
        if running is not None:
            return running
        _check_examples(dataset, snapshot)
        snapshot = snapshot or _snapshot_of(actor, dataset)
        check_method(chosen, snapshot.task_type or dataset.task_type, dataset)
        params = {"base_model": base_model_key, "snapshot": snapshot.pk, "training": chosen}
        return submit_job(actor=actor, kind=PROBE_KIND, title=f"Test run of {card.name}", params=params)
