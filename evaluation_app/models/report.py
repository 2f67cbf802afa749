"""What people add to an evaluation's report: the business figures they assume, and their signature."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, Project, User
from evaluation_app.models.evaluation import Evaluation
from jobs_app.models import TrainedModel


class ReportAssumptions(models.Model):
    """The editable inputs of the KPI and ROI report, one set per project (see ``finetune_engine.evaluate.worth.roi``)."""

    project = models.OneToOneField(
        Project, primary_key=True, on_delete=models.CASCADE, related_name="report_assumptions"
    )
    values = models.JSONField(default=dict)
    updated_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    updated_at = models.DateTimeField(default=timezone.now)


class SignOff(models.Model):
    """An owner's word that a model may be used, with what it rests on. Withdrawn ones stay on record.

    ``evaluation`` None: signed without one. ``report_sha256`` is of the report as it was read.
    """

    id = models.BigAutoField(primary_key=True)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="sign_offs")
    trained_model = models.ForeignKey(TrainedModel, on_delete=models.CASCADE, related_name="sign_offs")
    evaluation = models.ForeignKey(Evaluation, null=True, on_delete=models.SET_NULL, related_name="sign_offs")
    report_sha256 = models.CharField(max_length=64, blank=True)
    verdict = models.CharField(max_length=12, blank=True)  # what the evaluation said at that time
    statement = models.TextField(blank=True)
    signed_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    signed_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    signed_at = models.DateTimeField(default=timezone.now)
    withdrawn_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"sign-off of {self.trained_model_id}"
