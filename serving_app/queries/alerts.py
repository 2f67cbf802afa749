"""Rules about a model in use, and what became of them."""

from __future__ import annotations

from django.db.models import QuerySet

from accounts_app.models import Project
from serving_app.models import Alert, AlertRule


def alert_rules(project: Project) -> list[AlertRule]:
    """The project's rules, oldest first; ``open_alerts`` holds the open one, if any."""
    rules = list(AlertRule.objects.filter(project=project).order_by("id"))
    open_ones = {alert.rule_id: alert for alert in Alert.objects.filter(project=project, closed_at=None)}
    for rule in rules:
        rule.open_alert = open_ones.get(rule.pk)  # type: ignore[attr-defined]
    return rules


def alerts_of(project: Project) -> QuerySet[Alert]:
    """Alerts, the newest first."""
    return Alert.objects.filter(project=project).select_related("rule").order_by("-id")
