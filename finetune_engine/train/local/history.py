"""The numbers of a run, step by step, as kept in checkpoints and in the artefact's ``metrics.csv``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class StepMetrics:
    """One optimiser step (``step`` counts from 1). Validation numbers only where it was evaluated."""

    step: int
    train_loss: float
    train_accuracy: float
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None


COLUMNS = tuple(item.name for item in fields(StepMetrics))


def write_history(path: Path, history: Sequence[StepMetrics]) -> None:
    """Write the CSV of the public API; numbers keep every digit, empty where there is none."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(["" if value is None else repr(value) for value in astuple(row)] for row in history)


def read_history(path: Path) -> list[StepMetrics]:
    """Read it back exactly."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return [
        StepMetrics(int(row[0]), float(row[1]), float(row[2]), *(float(value) if value else None for value in row[3:]))
        for row in rows
    ]
