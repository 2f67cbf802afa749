"""The test cases of a snapshot, and what the baselines may learn from its train split."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from finetune_engine.errors import Place, UserError
from finetune_engine.evaluate.spec import EvaluateSpec

COLUMNS = ["row", "split", "messages", "prompt", "answer", "label", "metadata"]


@dataclass(frozen=True)
class TestCase:
    """One case. ``messages`` end before the answer; ``group`` ties rows that are not independent, or None."""

    __test__ = False  # pytest collects classes called Test*

    row: int
    messages: list[dict[str, Any]]
    prompt: str
    reference: str
    label: str | None
    group: str | None


@dataclass(frozen=True)
class Cases:
    """The cases of the split in row order, and ``(prompt, label)`` pairs of the train split."""

    test: list[TestCase]
    train: list[tuple[str, str]]

    @property
    def train_labels(self) -> list[str]:
        """The labels a model could have learnt, sorted."""
        return sorted({label for _, label in self.train})

    @property
    def labels(self) -> list[str]:
        """All labels that occur, sorted."""
        return sorted({label for _, label in self.train} | {case.label for case in self.test if case.label is not None})


def read_cases(spec: EvaluateSpec) -> Cases:
    """Read the snapshot. Raises UserError when it is not one, or when the split is empty."""
    try:
        table = pq.read_table(spec.snapshot, columns=COLUMNS)
    except (OSError, pa.ArrowException, KeyError) as problem:
        raise UserError(
            "bad_snapshot",
            f"The snapshot {spec.snapshot.name} cannot be read: {problem}",
            "snapshot",
            place=Place(file=spec.snapshot.name),
        ) from problem
    is_classification = spec.task_type == "classification"
    group_by = spec.group_by or _manifest(spec.snapshot).get("group_by")
    rows = table.filter(pc.equal(table["split"], spec.split)).sort_by("row").to_pylist()
    if is_classification:
        rows = [row for row in rows if row["label"] is not None]
    if not rows:
        raise UserError(
            "no_test_cases",
            f"The {spec.split} split of this snapshot has no case to test with. Make a snapshot with a test share.",
            "split",
        )
    if spec.limit is not None and spec.limit < len(rows):
        chosen = random.Random(spec.seed).sample(range(len(rows)), spec.limit)
        rows = [rows[position] for position in sorted(chosen)]
    train: list[tuple[str, str]] = []
    if is_classification:
        learnt = table.filter(pc.equal(table["split"], "train")).sort_by("row").select(["prompt", "label"]).to_pylist()
        train = [(row["prompt"] or "", row["label"]) for row in learnt if row["label"] is not None]
    return Cases([_case(row, group_by) for row in rows], train)


def _case(row: Mapping[str, Any], group_by: str | None) -> TestCase:
    messages = json.loads(row["messages"])
    reference = row["answer"] if row["answer"] is not None else str(messages[-1].get("content") or "")
    group = None
    if group_by:
        value = json.loads(row["metadata"] or "{}").get(group_by)
        group = None if value is None else str(value)
    return TestCase(row["row"], messages[:-1], row["prompt"] or "", reference, row["label"], group)


def _manifest(snapshot: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((snapshot.parent / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}
