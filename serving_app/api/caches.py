"""Answers that are told again, as the page."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from finetune_engine.errors import UserError
from finetune_engine.serve.semantic import DEFAULT_THRESHOLD
from finetune_engine.serve.semantic.report import Share, ThresholdRow, reported_pairs, threshold_report
from serving_app.models import SemanticEntry, SemanticServing
from serving_app.operations.caches import allow_entry, change_caches, clear_caches, deny_entry, judge_serving
from serving_app.queries import current_deployment
from serving_app.queries.caches import (
    cache_figures,
    entries_of,
    false_hit_share,
    judged_servings,
    kept_count,
    servings_of,
)
from web_kit.pagination import paginate

router = Router(tags=["serving"])


class CacheSettings(Schema):
    """The switches of what is in use; left out: as they are. ``threshold`` null means the default."""

    uses_exact_cache: bool | None = None
    uses_semantic_cache: bool | None = None
    threshold: float | None = None


class Judgement(Schema):
    """``verdict`` is ``right`` (same meaning), ``wrong`` (different meaning), or empty to take it back."""

    verdict: str


@router.get("/caches", auth=key_auth(Act.VIEW), response=Any, summary="What is told again, and how well")
def caches(request: HttpRequest, days: int = 7) -> Any:
    """Switches, hits of the last ``days`` (1 to 92), the measured share of false hits, and the report of thresholds:
    on the shipped pairs that chose nothing and on this project's judged tellings."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    days = max(1, min(92, days))
    figures = cache_figures(actor.project, days)
    return {
        "settings": _settings(actor),
        "days": days,
        "requests": figures.requests,
        "exact_hits": figures.exact_hits,
        "semantic_hits": figures.semantic_hits,
        "misses": figures.misses,
        "entries": kept_count(actor.project),
        "false_hits": _share(false_hit_share(actor.project)),
        "thresholds": {
            "shipped": [_row(row) for row in threshold_report(reported_pairs())],
            "judged": [_row(row) for row in threshold_report(judged_servings(actor.project))],
        },
    }


@router.patch("/caches", auth=key_auth(Act.OWN), response=Any, summary="Switch caches on or off")
def change(request: HttpRequest, payload: CacheSettings) -> Any:
    """For what is in use. 404 when nothing is."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    deployment = current_deployment(actor.project)
    if deployment is None:
        raise UserError("nothing_in_use", "No model is in use in this project.", status=404)
    given = payload.dict(exclude_unset=True)
    exact, semantic = given.get("uses_exact_cache"), given.get("uses_semantic_cache")
    change_caches(
        actor=actor,
        deployment=deployment,
        uses_exact_cache=deployment.uses_exact_cache if exact is None else exact,
        uses_semantic_cache=deployment.uses_semantic_cache if semantic is None else semantic,
        threshold=given.get("threshold", deployment.semantic_threshold),
    )
    return _settings(actor)


@router.post("/caches/clear", auth=key_auth(Act.OWN), response=Any, summary="Forget every kept answer")
def clear(request: HttpRequest) -> Any:
    """Exact and semantic; denials stay. ``entries``: how many semantic ones there were."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return {"entries": clear_caches(actor=actor)}


@router.get(
    "/caches/servings", auth=key_auth(Act.VIEW), response=Any, summary="Answers told to a question that means the same"
)
def servings(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    page = paginate(servings_of(actor.project), order=("-id",), limit=limit, cursor=cursor)
    return {"data": [_serving(one) for one in page], "next_cursor": page.next_cursor}


@router.post(
    "/caches/servings/{serving_id}/judge",
    auth=key_auth(Act.REVIEW),
    response=Any,
    summary="Say whether two questions mean the same",
)
def judge(request: HttpRequest, serving_id: int, payload: Judgement) -> Any:
    """Of a different meaning: the entry is denied."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    serving = fetch(actor, SemanticServing, pk=serving_id)
    return _serving(judge_serving(actor=actor, serving=serving, verdict=payload.verdict))


@router.get("/caches/entries", auth=key_auth(Act.VIEW), response=Any, summary="Kept questions and their answers")
def entries(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first, denied ones included."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    page = paginate(entries_of(actor.project), order=("-id",), limit=limit, cursor=cursor)
    return {"data": [_entry(entry) for entry in page], "next_cursor": page.next_cursor}


@router.post("/caches/entries/{entry_id}/deny", auth=key_auth(Act.OWN), response=Any, summary="Never tell this answer")
def deny(request: HttpRequest, entry_id: str) -> Any:
    """Nor is another kept for its question."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return _entry(deny_entry(actor=actor, entry=fetch(actor, SemanticEntry, pk=entry_id)))


@router.post("/caches/entries/{entry_id}/allow", auth=key_auth(Act.OWN), response=Any, summary="Take a denial back")
def allow(request: HttpRequest, entry_id: str) -> Any:
    """The entry comes back under a new id."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return _entry(allow_entry(actor=actor, entry=fetch(actor, SemanticEntry, pk=entry_id)))


def _settings(actor: Actor) -> dict[str, Any] | None:
    deployment = current_deployment(actor.project)
    if deployment is None:
        return None
    return {
        "deployment": deployment.pk,
        "uses_exact_cache": deployment.uses_exact_cache,
        "uses_semantic_cache": deployment.uses_semantic_cache,
        "threshold": deployment.semantic_threshold,
        "default_threshold": DEFAULT_THRESHOLD,
    }


def _share(share: Share) -> dict[str, Any]:
    low, high = share.interval.low, share.interval.high
    return {"value": share.value, "ci_low": low, "ci_high": high, "count": share.count, "n": share.of}


def _row(row: ThresholdRow) -> dict[str, Any]:
    return {"threshold": row.threshold, "hits": _share(row.hits), "false_hits": _share(row.false_hits)}


def _serving(serving: SemanticServing) -> dict[str, Any]:
    return {
        "id": serving.pk,
        "entry": serving.entry_id,
        "request_id": serving.request_id,
        "asked": serving.asked,
        "kept_question": serving.kept_question,
        "similarity": serving.similarity,
        "verdict": serving.verdict or None,
        "at": serving.at,
    }


def _entry(entry: SemanticEntry) -> dict[str, Any]:
    return {
        "id": entry.pk,
        "question": entry.question,
        "answer": entry.text,
        "model_identity": entry.model_identity,
        "embedder": entry.embedder,
        "request_id": entry.request_id,
        "created_at": entry.created_at,
        "expires_at": entry.expires_at,
        "last_served_at": entry.last_served_at,
        "denied_at": entry.denied_at,
    }
