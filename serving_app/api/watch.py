"""How a model in use does, as the page."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import QueryEx, Router

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor
from serving_app.panels import cost_sentence
from serving_app.queries.drift import newest_report
from serving_app.queries.predictions import moment_of
from serving_app.queries.watch import Figures, span_of, watch_of

router = Router(tags=["serving"])


@router.get("/watch", auth=key_auth(Act.VIEW), response=Any, summary="How a model in use does over time")
def watch(
    request: HttpRequest,
    since: Annotated[str, QueryEx(alias="from")] = "",
    until: Annotated[str, QueryEx(alias="to")] = "",
    model: str = "",
) -> Any:
    """``from`` and ``to`` are days or moments (left out: the last day; at most 92 days), ``model`` a name as in the log. Seconds,
    shares and confidences are null where nothing was measured."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    end = moment_of(until, "to", is_end=True) if until else timezone.now()
    begin = moment_of(since, "from") if since else end - timedelta(days=1)
    found = watch_of(actor.project, span_of(begin, end), model)
    report = newest_report(actor.project)
    return {
        "from": found.span.since,
        "to": found.span.until,
        "step_seconds": int(found.span.step.total_seconds()),
        "model": model or None,
        "models": found.models,
        "total": _figures(found.whole),
        "cost": cost_sentence(found),
        "steps": [{"at": at, **_figures(one)} for at, one in zip(found.span.starts, found.steps, strict=True)],
        "deployments": [{"at": change.at, "model": change.model_name} for change in found.changes],
        "open_alerts": [{"id": alert.pk, "sentence": alert.sentence} for alert in found.open_alerts],
        "drift": {"at": report.at, "questions": report.questions, "findings": report.findings} if report else None,
    }


def _figures(figures: Figures) -> dict[str, Any]:
    counts = (
        "requests", "answered", "refused", "failed", "left", "exact_hits", "semantic_hits", "needs_human", "prompt_tokens",
        "completion_tokens", "good", "bad",
    )  # fmt: skip
    return {
        **{name: getattr(figures, name) for name in counts},
        "latency_p50": figures.half_within,
        "latency_p95": figures.most_within,
        "mean_confidence": figures.mean_confidence,
    }
