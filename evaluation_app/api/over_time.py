"""Evaluations side by side and over time as JSON: ``/api/v1/evaluations/compare`` and ``/history``."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor
from evaluation_app.queries.compare import Column, EvaluationComparison, Pair, compared_evaluations
from evaluation_app.queries.compare_words import pair_sentences, pair_title
from evaluation_app.queries.history import Version, project_history

router = Router(tags=["evaluations"])


@router.get("/evaluations/compare", auth=key_auth(Act.VIEW), response=Any, summary="Evaluations side by side")
def compare(request: HttpRequest, ids: str) -> Any:
    """``ids`` holds two to six of them, separated by commas; the first is the one that the others are held against.
    ``paired`` is null where two cannot be held against each other case by case; ``hindrance`` then is ``figures`` (other
    figures decide), ``cases`` (fewer than 20 in common), ``few`` (the same, but fewer than 20) or ``answers`` (not kept)."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    found = compared_evaluations(actor.project, ids.split(","))
    return {
        "data": [_column(column, found) for column in found.columns],
        "headline": found.headline,
        "same_cases": found.is_same,
        "pairs": [_pair(pair) for pair in found.pairs],
        "settings": {setting.name: setting.values for setting in found.settings},
        "next_cursor": None,
    }


@router.get("/evaluations/history", auth=key_auth(Act.VIEW), response=Any, summary="One figure over all versions")
def history(request: HttpRequest, metric: str = "") -> Any:
    """Oldest first. Only versions with the same ``series`` were asked the same cases. ``metric`` is the headline of the
    newest evaluation unless another one of ``metrics`` is named."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    found = project_history(actor.project, metric)
    return {
        "metric": found.metric,
        "metrics": [name for name, _words in found.choices],
        "series": [{"series": series.number, "data": series.name} for series in found.series],
        "data": [_version(version) for version in found.versions],
        "next_cursor": None,
    }


def _column(column: Column, found: EvaluationComparison) -> dict[str, Any]:
    scores = {row.metric: cell for row in found.rows for cell in row.cells if cell.column is column}
    return {
        "id": column.card.id,
        "model": column.subject,
        "trained_model": column.card.model_id,
        "data": column.card.data_name,
        "n": column.n,
        "verdict": column.card.verdict or None,
        "overall_score": column.overall_score,
        "scores": {
            metric: {"value": cell.value, "ci_low": cell.ci_low, "ci_high": cell.ci_high, "base": cell.base}
            for metric, cell in scores.items()
        },
    }


def _pair(pair: Pair) -> dict[str, Any]:
    paired = None
    if pair.paired is not None:
        paired = vars(pair.paired) | {"p_holm": pair.p_holm}
        paired |= {name: [vars(change) for change in paired[name]] for name in ("lost", "won")}
    unpaired = None
    if pair.unpaired is not None:
        interval = pair.unpaired.interval
        unpaired = {"difference": pair.unpaired.value, "ci_low": interval.low, "ci_high": interval.high}
    return {
        "first": pair.first.card.id,
        "second": pair.second.card.id,
        "same_cases": pair.is_same,
        "hindrance": pair.hindrance,
        "title": pair_title(pair),
        "sentences": pair_sentences(pair),
        "paired": paired,
        "unpaired": unpaired,
    }


def _version(version: Version) -> dict[str, Any]:
    kept = version.cases_kept
    return {
        "evaluation": version.evaluation_id,
        "model": version.model_name,
        "trained_model": version.model_id,
        "series": version.series,
        "n": version.n,
        "value": version.value,
        "ci_low": version.ci_low,
        "ci_high": version.ci_high,
        "verdict": version.verdict or None,
        "overall_score": version.overall_score,
        "regressions": {"passed": kept[0], "n": kept[1]} if kept else None,
        "created_at": version.created_at,
    }
