"""Reading figures out of a report's JSON, of this version or of the first one. Nothing here knows models or files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def subject_key(report: Mapping[str, Any]) -> str | None:
    """The model that the report is about; reports of the first version call it ``tuned``."""
    keys = [model.get("key") for model in report.get("models") or ()]
    named = report.get("subject")
    return str(named) if named else "tuned" if "tuned" in keys else None


def against_key(report: Mapping[str, Any]) -> str | None:
    """The model it is compared with; reports of the first version call it ``base``."""
    keys = [model.get("key") for model in report.get("models") or ()]
    named = report.get("against")
    return str(named) if named else "base" if "base" in keys else None


def mean_seconds(report: Mapping[str, Any], key: str | None) -> float | None:
    """Mean seconds of one answer of a model, from either version of the report; None where it was not timed."""
    by_model = (report.get("performance") or {}).get("by_model") or {}
    measured = by_model.get(key) or model_of(report, key).get("performance") or {}
    value = measured.get("avg_latency")
    return None if value is None else float(value)


def model_of(report: Mapping[str, Any], key: str | None) -> Mapping[str, Any]:
    """The part of the report about one model; empty where there is none."""
    found = (model for model in report.get("models") or () if model.get("key") == key)
    return next(found, {}) if key else {}


def score_of(report: Mapping[str, Any], key: str | None, metric: str) -> Mapping[str, Any] | None:
    """``{metric, value, ci_low, ci_high, n, ...}`` of one model; None where it was not measured."""
    return next((score for score in model_of(report, key).get("scores") or () if score.get("metric") == metric), None)


def value_of(report: Mapping[str, Any], key: str | None, metric: str) -> float | None:
    """The bare figure; None where it was not measured."""
    value = (score_of(report, key, metric) or {}).get("value")
    return None if value is None else float(value)


def is_higher_better(report: Mapping[str, Any], metric: str) -> bool:
    """Whether more of a metric is better, as the subject's score says."""
    return bool((score_of(report, subject_key(report), metric) or {}).get("higher_is_better", True))


def paired_interval(report: Mapping[str, Any], metric: str, against: str | None) -> tuple[float, float] | None:
    """The interval of subject minus ``against``, where the report has it; a comparison with ``base`` is one with the model that
    the report compares with, whatever its key."""
    named = {against, "base"} if against is not None and against == against_key(report) else {against}
    for found in [report.get("comparison"), *(report.get("comparisons") or ())]:
        if found and found.get("metric") == metric and found.get("against", "base") in named:
            low, high = found.get("ci_low"), found.get("ci_high")
            return None if low is None or high is None else (float(low), float(high))
    return None
