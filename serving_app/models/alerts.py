"""What somebody wants to be told about a model in use, and when it was the case."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import Project, User
from serving_app.choices import AlertKind
from web_kit.ids import ID_LENGTH, new_id


class AlertRule(models.Model):
    """Tell when a figure passes ``threshold`` (its unit belongs to the kind) over ``window_minutes``."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="alert_rules")
    kind = models.CharField(max_length=14, choices=AlertKind.choices)
    threshold = models.FloatField()
    window_minutes = models.PositiveIntegerField(default=15)
    is_enabled = models.BooleanField(default=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)


class Alert(models.Model):
    """A rule's figure was past its threshold from ``opened_at`` to ``closed_at`` (NULL: still is)."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="alerts")
    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="alerts")
    value = models.FloatField(null=True)  # when it opened
    sentence = models.CharField(max_length=300)
    opened_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["rule"], condition=models.Q(closed_at=None), name="one_open_alert_per_rule"
            ),
        ]
