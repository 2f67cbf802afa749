"""The single answers of an evaluation, read from its file a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage

from evaluation_app.models import Evaluation
from work_kit.files import fetch_to

_CORRECT = {"right": True, "wrong": False}


@dataclass(frozen=True)
class SampleRow:
    """One case. ``*_correct`` is None where an answer is not simply right or wrong, ``*_nll`` the negative
    log-likelihood of the reference (per answer) or None."""

    row: int
    prompt: str
    reference: str
    label: str | None
    base_answer: str | None
    base_correct: bool | None
    base_nll: float | None
    tuned_answer: str | None
    tuned_correct: bool | None
    tuned_nll: float | None


def sample_rows(
    evaluation: Evaluation, cursor: int | None = None, limit: int = 50, *, tuned: str = ""
) -> tuple[list[SampleRow], int | None]:
    """Up to ``limit`` cases with row numbers above ``cursor``, and the cursor of the next page (None at the end).

    ``tuned`` ``right`` or ``wrong`` keeps those that the trained model got so. No file yet gives no rows.
    """
    if not evaluation.samples_name:
        return [], None
    import polars as pl

    frame = pl.scan_parquet(_local(evaluation))
    if cursor is not None:
        frame = frame.filter(pl.col("row") > cursor)
    if tuned in _CORRECT:
        frame = frame.filter(pl.col("tuned_correct") == _CORRECT[tuned])
    rows = [_sample(values) for values in frame.sort("row").head(limit + 1).collect().to_dicts()]
    following = rows[limit - 1].row if len(rows) > limit else None
    return rows[:limit], following


def _local(evaluation: Evaluation) -> Path:
    try:
        return Path(default_storage.path(evaluation.samples_name))
    except NotImplementedError:
        path = Path(settings.CACHE_DIR) / "evaluations" / f"{evaluation.pk}.parquet"
        return path if path.is_file() else fetch_to(path, evaluation.samples_name)


def _sample(values: dict[str, Any]) -> SampleRow:
    return SampleRow(
        row=int(values["row"]),
        prompt=values.get("prompt") or "",
        reference=values.get("reference") or "",
        label=values.get("label"),
        base_answer=values.get("base_answer"),
        base_correct=values.get("base_correct"),
        base_nll=values.get("base_nll"),
        tuned_answer=values.get("tuned_answer"),
        tuned_correct=values.get("tuned_correct"),
        tuned_nll=values.get("tuned_nll"),
    )
