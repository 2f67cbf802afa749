"""Everything that changes base models, trainings, checkpoints, trained models, keys and budgets: a file for each idea."""

from __future__ import annotations

from jobs_app.operations.training import (
    checked_metadata,
    checked_suffix,
    delete_trained_model,
    freeze_data,
    freeze_validation,
    new_idempotency_key,
    settle_passes,
    start_probe,
    start_training,
    tell_row_counts,
)

__all__ = [
    "checked_metadata",
    "checked_suffix",
    "delete_trained_model",
    "freeze_data",
    "freeze_validation",
    "new_idempotency_key",
    "settle_passes",
    "start_probe",
    "start_training",
    "tell_row_counts",
]
