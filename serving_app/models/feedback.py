"""What people think of answers, and what became of it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, Project, User
from datasets_app.models import Dataset
from evaluation_app.models import RegressionCase
from serving_app.choices import Verdict
from serving_app.models.deployment import Deployment
from serving_app.models.prediction import Prediction
from web_kit.ids import ID_LENGTH, new_id


class Feedback(models.Model):
    """The newest verdict on one answer, with a copy of question and answer, so that it outlives the log.

    ``messages`` end before the answer. ``reasons`` are values of ``choices.Reason``. What it led to: rows proposed for
    ``dataset`` as its file ``source_number``; a ``regression_case``; or it was set aside at ``dismissed_at``.
    """

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="feedback")
    prediction = models.OneToOneField(Prediction, null=True, on_delete=models.SET_NULL, related_name="feedback")
    request_id = models.CharField(max_length=ID_LENGTH, unique=True)
    deployment = models.ForeignKey(Deployment, null=True, on_delete=models.SET_NULL, related_name="feedback")
    model_name = models.CharField(max_length=250)
    messages = models.JSONField(default=list)
    answer = models.TextField(blank=True)
    verdict = models.CharField(max_length=4, choices=Verdict.choices)
    reasons = models.JSONField(default=list)
    comment = models.CharField(max_length=1000, blank=True)
    correction = models.TextField(blank=True)
    by_user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    at = models.DateTimeField(default=timezone.now)
    dataset = models.ForeignKey(Dataset, null=True, on_delete=models.SET_NULL, related_name="feedback")
    source_number = models.PositiveIntegerField(null=True)
    proposed_at = models.DateTimeField(null=True)
    regression_case = models.ForeignKey(RegressionCase, null=True, on_delete=models.SET_NULL, related_name="feedback")
    dismissed_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["project", "-id"], name="feedback_newest"),
            models.Index(fields=["project", "at"], name="feedback_project_at"),
        ]
