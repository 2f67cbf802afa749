"""The machines of the house, and who waits for them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts_app.queries import projects_of
from accounts_app.views.access import signed_in_page
from work_kit.occupancy import occupancy


@signed_in_page
def workers(request: HttpRequest) -> HttpResponse:
    """Workers, devices and queues, drawn anew every few seconds. Of other projects only that they are there."""
    return workers_page(request, {})


def workers_page(request: HttpRequest, more: dict[str, Any]) -> HttpResponse:
    """The page, with what the apps above know of the machines (``replicas``: the model servers)."""
    ids = [project.pk for project in projects_of(request.user)]  # type: ignore[arg-type]
    return render(request, "work_kit/workers.html", {"house": occupancy(ids), **more})
