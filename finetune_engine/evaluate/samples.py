"""``samples.parquet``: every case with what each model said to it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from finetune_engine.evaluate.observing import Observed
from finetune_engine.evaluate.scoring import Scored
from finetune_engine.evaluate.suites.suite import Bench
from finetune_engine.evaluate.texts.words import whole_characters


def write_samples(path: Path, bench: Bench, seen: Observed, scored: Mapping[str, Scored]) -> None:
    """Write the table, one row for each case in the order of the cases; a reader never sees half of it.

    ``row, prompt, reference, label, group`` (of rows that are not independent; null: stands alone), ``metadata`` (JSON text),
    ``messages`` (JSON text, before the answer), and for each model key ``{key}_answer, _correct, _score`` (headline, 0..1),
    ``_nll, _tokens, _label_prediction, _f1`` and ``_confidence`` (0..1: exp of the mean log-probability of the answer's own
    tokens), null where not known.
    """
    cases = bench.cases.test
    columns: dict[str, Any] = {
        "row": pa.array([case.row for case in cases], pa.int64()),
        "prompt": pa.array([case.prompt for case in cases], pa.string()),
        "reference": pa.array([whole_characters(case.reference) for case in cases], pa.string()),
        "label": pa.array([case.label for case in cases], pa.string()),
        "group": pa.array([case.group and whole_characters(case.group) for case in cases], pa.string()),
        "metadata": pa.array([_json(case.metadata) for case in cases], pa.string()),
        "messages": pa.array([_json(case.messages) for case in cases], pa.string()),
    }
    n = len(cases)
    for key, said in seen.answers.items():
        values = scored[key].values
        columns[f"{key}_answer"] = pa.array(list(map(whole_characters, said.answers)), pa.string())
        columns[f"{key}_correct"] = pa.array(_correct(bench, key, scored[key]), pa.bool_())
        columns[f"{key}_score"] = pa.array(bench.values[key].tolist(), pa.float64())
        columns[f"{key}_nll"] = _column(said.nll, n, pa.float64())
        columns[f"{key}_tokens"] = _column(said.tokens, n, pa.int32())
        columns[f"{key}_label_prediction"] = _column(said.likeliest, n, pa.string())
        columns[f"{key}_confidence"] = pa.array(_confidences(said.logprobs, n), pa.float64())
        if "f1" in values:
            columns[f"{key}_f1"] = pa.array(values["f1"].tolist(), pa.float64())
    draft = path.with_suffix(".part")
    pq.write_table(pa.table(columns), draft)
    draft.replace(path)


def _json(value: Any) -> str:
    return whole_characters(json.dumps(value, ensure_ascii=False))


def _correct(bench: Bench, key: str, scored: Scored) -> list[bool]:
    """Right or wrong as an expert would say it: the right label, else the same words; else at least half of the headline."""
    for metric in ("accuracy", "quasi_exact_match"):
        if metric in scored.values:
            return [bool(right) for right in scored.values[metric] > 0.5]
    return [bool(right) for right in bench.values[key] > 0.5]


def _confidences(logprobs: Sequence[float | None], n: int) -> list[float | None]:
    return [None if mean is None else math.exp(min(mean, 0.0)) for mean in logprobs or [None] * n]


def _column(values: Any, n: int, kind: Any) -> Any:
    return pa.nulls(n, kind) if values is None else pa.array(values, kind)
