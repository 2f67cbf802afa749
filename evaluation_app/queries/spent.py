"""What evaluations cost at other people's machines."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from accounts_app.models import Project
from evaluation_app.models import Evaluation
from work_kit.choices import State


def spent_on_evaluations(project: Project, currency: str, since: datetime) -> Decimal:
    """The estimates of the evaluations begun since then, in this currency. One that never started has cost nothing."""
    rows = Evaluation.objects.filter(
        project=project, created_at__gte=since, settings__expected_cost__currency=currency
    ).exclude(work__state=State.CANCELLED, work__attempt=0)
    amounts = rows.values_list("settings__expected_cost__amount", flat=True)
    return sum((Decimal(amount) for amount in amounts if amount), Decimal(0))
