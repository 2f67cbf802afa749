"""The page Machines: who works, and who answers."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from accounts_app.views.access import signed_in_page
from serving_app.queries import fresh_replicas
from work_kit.views.workers import workers_page


@signed_in_page
def machines(request: HttpRequest) -> HttpResponse:
    """Workers, devices and queues, and the model servers beside them."""
    return workers_page(request, {"replicas": fresh_replicas()})
