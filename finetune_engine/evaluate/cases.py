"""The test cases of a snapshot, and what the baselines may learn from its train split."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from finetune_engine.errors import Place, UserError
from finetune_engine.evaluate.spec import EvaluateSpec
from finetune_engine.evaluate.texts.words import normalise

MOST_EXAMPLES = 1_000
"""Rows of the train split among which the examples shown before a question are chosen."""
COLUMNS = ["row", "split", "messages", "prompt", "answer", "label", "metadata"]


@dataclass(frozen=True)
class TestCase:
    """One case. ``messages`` end before the answer; ``group`` ties rows that are not independent, or None; ``metadata``
    has the other columns of the row."""

    __test__ = False  # pytest collects classes called Test*

    row: int
    messages: list[dict[str, Any]]
    prompt: str
    reference: str
    label: str | None
    group: str | None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cases:
    """The cases of the split in row order, and ``(prompt, label)`` pairs of the train split.

    ``examples`` are solved cases of the train split that may be shown before a question; empty unless a model is
    asked with examples.
    """

    test: list[TestCase]
    train: list[tuple[str, str]]
    examples: list[TestCase] = field(default_factory=list)

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
    cases = [_case(row, group_by) for row in rows]
    return Cases(cases, train, _examples(spec, table, is_classification, cases))


def _examples(spec: EvaluateSpec, table: pa.Table, is_classification: bool, cases: list[TestCase]) -> list[TestCase]:
    """A seeded draw from the train split, in an order of its own; never from the rows that are asked, nor with the question of
    one of these ``cases``: its right answer would stand in the prompt."""
    shots = max((model.prompt.shots for model in spec.models if model.prompt is not None), default=0)
    if not shots or spec.split == "train":
        return []
    rows = table.filter(pc.equal(table["split"], "train")).sort_by("row")
    if is_classification:
        rows = rows.filter(pc.is_valid(rows["label"]))
    chosen = random.Random(f"{spec.seed} shots").sample(range(len(rows)), min(MOST_EXAMPLES, len(rows)))
    examples = [_case(row, None) for row in rows.take(chosen).to_pylist()]
    asked = {_words(case) for case in cases}
    return [example for example in examples if _words(example) not in asked]


def _words(case: TestCase) -> str:
    """The question but for case, punctuation and spaces."""
    said = [str(turn.get("content") or "") for turn in case.messages if turn.get("role") not in ("system", "developer")]
    return normalise("\n".join(said)) or "\n".join(said)


def _case(row: Mapping[str, Any], group_by: str | None) -> TestCase:
    messages = json.loads(row["messages"])
    reference = row["answer"] if row["answer"] is not None else str(messages[-1].get("content") or "")
    told = json.loads(row["metadata"] or "{}")
    metadata: dict[str, Any] = told if isinstance(told, dict) else {}
    value = metadata.get(group_by) if group_by else None
    group = None if value is None else str(value)
    return TestCase(row["row"], messages[:-1], row["prompt"] or "", reference, row["label"], group, metadata)


def _manifest(snapshot: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((snapshot.parent / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}
