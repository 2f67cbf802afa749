"""How far what is asked has moved from what the model was taught."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import Project
from serving_app.models.deployment import Deployment
from web_kit.ids import ID_LENGTH, new_id


class DriftReport(models.Model):
    """One comparison of recent questions with the deployment's training data. ``baseline`` is the profile that it was
    compared with (kept, so that the next one needs not be read from the data again); ``findings`` is
    ``[{name, value, limit, is_over, sentence}]``."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="drift_reports")
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="drift_reports")
    questions = models.PositiveIntegerField()
    since = models.DateTimeField()
    baseline = models.JSONField(default=dict)
    profile = models.JSONField(default=dict)
    findings = models.JSONField(default=list)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["deployment", "-id"], name="drift_newest")]
