"""Operations: a saved state of a training becomes a model of its own, and the way back.

The model does not copy the state's files, it shares them: ``checkpoints.discard`` never deletes what a model or a
checkpoint still names. So thinning, retention and deleting the training's own model leave it whole.
"""

from __future__ import annotations

from django.db import transaction

from accounts_app.operations import record
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from jobs_app import queries, uses
from jobs_app.models import Checkpoint, TrainedModel
from jobs_app.operations import checkpoints
from work_kit.files import read_manifest

ONLY_FOR_TRAINING = frozenset({"optimizer.safetensors", "rng.safetensors", "state.json"})  # of a state's files
_CARRIED = ("train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy")


def use_checkpoint(*, actor: Actor, checkpoint: Checkpoint) -> TrainedModel:
    """Make a trained model of a saved state, which can then be evaluated, deployed and downloaded like any other. The same
    state again returns the same model. Raises UserError when the state is gone meanwhile or its files are not whole."""
    training = checkpoint.training_job
    known = training.trained_models.filter(checkpoint_step=checkpoint.step).first()
    if known is not None:
        return known
    remote_name = str(checkpoint.metrics.get("remote_name") or "")  # a state that the training's provider keeps
    size = 0 if remote_name else _size_of(checkpoint)
    with transaction.atomic():
        row = Checkpoint.objects.select_for_update().filter(pk=checkpoint.pk, is_committed=True).first()
        if row is None:
            raise _gone()
        model, is_new = TrainedModel.objects.get_or_create(
            training_job=training,
            checkpoint_step=row.step,
            defaults={
                "project": training.project,
                "name": f"{training.name[:100]}, step {row.step}",
                "base_model_key": training.base_model_key,
                "api_name": queries.checkpoint_name(row),
                "storage_prefix": row.storage_prefix,
                "manifest_sha256": row.manifest_sha256,
                "size_bytes": size,
                "remote_name": remote_name,
                "connection": training.connection if remote_name else None,
                "metrics": {name: row.metrics[name] for name in _CARRIED if row.metrics.get(name) is not None}
                | {"best_step": row.step},
                "run": {"checkpoint": {"step": row.step, "attempt": row.attempt, "training_job": training.pk}},
            },
        )
        if is_new:
            record(actor=actor, project=actor.project, act="checkpoint.use", subject=f"model {model.api_name}")
    return model


def drop_checkpoint_model(*, actor: Actor, model: TrainedModel) -> None:
    """Undo ``use_checkpoint``: the model goes, the saved state stays. Raises UserError (409) while something uses the model,
    for a training's own model, and when the state is gone, because then deleting the model loses it for ever."""
    if model.checkpoint_step is None:
        raise UserError(
            "not_of_a_checkpoint", "This is the training's own model; delete it on its own page.", status=409
        )
    with transaction.atomic():
        states = Checkpoint.objects.select_for_update().filter(
            training_job=model.training_job_id, step=model.checkpoint_step, is_committed=True
        )
        if not any(state.storage_prefix == model.storage_prefix for state in states):
            raise UserError(
                "state_is_gone",
                "The saved state of this model is no longer kept, so this could not be taken back. An owner can delete the "
                "model on its own page.",
                status=409,
            )
        uses.refuse_if_used(model)
        prefix = model.storage_prefix
        record(actor=actor, project=actor.project, act="checkpoint.unuse", subject=f"model {model.api_name}")
        model.delete()
        transaction.on_commit(lambda: checkpoints.discard([prefix]), robust=True)


def _size_of(checkpoint: Checkpoint) -> int:
    """Bytes of what answers need. Raises UserError for a state whose manifest is gone."""
    try:
        files = read_manifest(checkpoint.storage_prefix)["files"]
    except Exception as problem:
        if not checkpoints.is_storage_problem(problem):
            raise
        raise _gone() from problem
    return sum(int(entry["size"]) for name, entry in files.items() if name not in ONLY_FOR_TRAINING)


def _gone() -> UserError:
    return UserError(
        "checkpoint_gone",
        "This saved state is no longer there: only the best and the newest few of a training are kept. Choose one of "
        "those that the page shows.",
        status=409,
    )
