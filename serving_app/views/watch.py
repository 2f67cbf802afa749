"""How a model in use does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from serving_app.panels import panels_of, table_of
from serving_app.queries import current_deployment
from serving_app.queries.drift import newest_report, unlike_examples
from serving_app.queries.watch import span_of, watch_of

RANGES: dict[str, tuple[timedelta, object]] = {
    "hour": (timedelta(hours=1), _("Hour")),
    "day": (timedelta(days=1), _("Day")),
    "week": (timedelta(days=7), _("Week")),
    "month": (timedelta(days=30), _("Month")),
}


@project_page({"GET": Act.VIEW})
def watch(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Plots of an hour, a day, a week or a month; the part with the figures is fetched again by itself."""
    chosen = request.GET.get("range", "")
    chosen = chosen if chosen in RANGES else "day"
    now = timezone.now()
    found = watch_of(actor.project, span_of(now - RANGES[chosen][0], now), request.GET.get("model", "")[:250])
    context: dict[str, Any] = {
        "project": actor.project,
        "watch": found,
        "panels": panels_of(found),
        "table": table_of(found),
        "ranges": [(name, label) for name, (_length, label) in RANGES.items()],
        "chosen": chosen,
        "now": now,
        "deployment": current_deployment(actor.project),
        **_drift(actor),
    }
    return render(request, "serving_app/watch.html", context)


def _drift(actor: Actor) -> dict[str, Any]:
    report = newest_report(actor.project)
    over = [one for one in report.findings if one.get("is_over")] if report else []
    return {"drift": report, "drift_over": over, "unlike": unlike_examples(report) if report else []}
