"""The cases that a review can draw from: an evaluation's answers, and what they can be divided by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluation_app.models import Evaluation
from evaluation_app.queries.contenders import contenders_of
from evaluation_app.queries.sample_file import samples_frame

MOST_STRATA = 40


@dataclass(frozen=True)
class ReviewCase:
    """One case with the answers of the models under review. ``messages`` end before the answer; ``hardness`` orders the
    hardest (surprise per token at the expected answer, else minus the score), 0 when nothing is known."""

    row: int
    messages: list[dict[str, Any]]
    reference: str
    answers: dict[str, str]
    strata: dict[str, str] = field(default_factory=dict)
    hardness: float = 0.0


def review_cases(evaluation: Evaluation, keys: Sequence[str], subject: str) -> list[ReviewCase]:
    """Every case that all the models of ``keys`` answered, by row; none while there is no file of answers."""
    frame = samples_frame(evaluation)
    if frame is None:
        return []
    columns = [f"{key}_answer" for key in keys]
    found = frame.collect_schema().names()
    if not set(columns) <= set(found):
        return []
    numbers = [f"{subject}_{name}" for name in ("nll", "tokens", "score")]
    texts = ["row", "prompt", "reference", "label", "messages", "metadata"]
    wanted = list(dict.fromkeys(name for name in (*texts, *columns, *numbers) if name in found))
    rows = frame.select(wanted).sort("row").collect().to_dicts()
    return [_case(row, keys, subject) for row in rows if all(row[column] is not None for column in columns)]


def strata_of(cases: Sequence[ReviewCase]) -> dict[str, int]:
    """What a sample can be divided by, with the number of groups: ``label``, or ``metadata:<column>``."""
    values: dict[str, set[str]] = {}
    for case in cases:
        for name, value in case.strata.items():
            values.setdefault(name, set()).add(value)
    return {name: len(groups) for name, groups in values.items() if 1 < len(groups) <= MOST_STRATA}


def model_names(evaluation: Evaluation) -> dict[str, str]:
    """The names of an evaluation's models by key; the report's own models where it has some."""
    told = {str(m["key"]): str(m.get("name") or m["key"]) for m in (evaluation.report or {}).get("models") or []}
    return told or {contender.key: contender.name for contender in contenders_of(evaluation)}


def _case(row: dict[str, Any], keys: Sequence[str], subject: str) -> ReviewCase:
    messages = json.loads(row["messages"]) if row.get("messages") else []
    if not messages:
        messages = [{"role": "user", "content": row.get("prompt") or ""}]
    return ReviewCase(
        row=int(row["row"]),
        messages=messages,
        reference=row.get("reference") or "",
        answers={key: row[f"{key}_answer"] for key in keys},
        strata=_strata(row),
        hardness=_hardness(row, subject),
    )


def _strata(row: dict[str, Any]) -> dict[str, str]:
    out = {"label": str(row["label"])} if row.get("label") else {}
    metadata = json.loads(row["metadata"]) if row.get("metadata") else {}
    for name, value in metadata.items():
        if isinstance(value, str | int | bool) and len(str(value)) <= 100:
            out[f"metadata:{name}"] = str(value)
    return out


def _hardness(row: dict[str, Any], subject: str) -> float:
    surprise, tokens, score = (row.get(f"{subject}_{name}") for name in ("nll", "tokens", "score"))
    if surprise is not None:
        return float(surprise) / max(1.0, float(tokens or 1))
    return -float(score) if score is not None else 0.0
