"""Which models were trained on this? Composed of what the data and the training apps know."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from accounts_app.models import Project
from datasets_app.models import Dataset, Snapshot
from datasets_app.queries.membership import FrozenRow, snapshots_with_row
from datasets_app.queries.rows import ExampleRow
from jobs_app.models import TrainedModel
from jobs_app.queries import models_by_snapshot


@dataclass(frozen=True)
class RowUse:
    """A snapshot that holds the row, what the row is used for there, and the models that came of it."""

    frozen: FrozenRow
    words: str
    models: list[TrainedModel]

    @property
    def is_learned(self) -> bool:
        """Whether these models learned from the row."""
        return self.frozen.split == "train"


def row_uses(project: Project, dataset: Dataset, row: ExampleRow) -> list[RowUse]:
    """Every snapshot that holds this row, newest first, with its models."""
    frozen = snapshots_with_row(dataset, row)
    models = models_by_snapshot(project, [one.snapshot.pk for one in frozen])
    return [RowUse(one, use_words(one.split), models[one.snapshot.pk]) for one in frozen]


def snapshot_models(project: Project, snapshot: Snapshot) -> list[TrainedModel]:
    """The models trained on this snapshot, newest first."""
    return models_by_snapshot(project, [snapshot.pk])[snapshot.pk]


def use_words(split: str) -> str:
    """What a model has to do with a row of this split."""
    return {
        "train": _("Train: models learn from it"),
        "validation": _("Validation: it only tells when to stop, no model learns from it"),
        "test": _("Test: kept back to judge models, none learns from it"),
    }.get(split, split)
