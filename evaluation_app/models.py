"""Evaluations: one trained model asked about rows that it has not learnt, beside its base model."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, Project, User
from datasets_app.models import Snapshot
from evaluation_app.choices import Split, VerdictKind
from jobs_app.models import TrainedModel
from web_kit.ids import ID_LENGTH, new_id
from work_kit.models import Job


class Evaluation(models.Model):
    """One comparison. Where it stands is the state of ``work``, whose id it shares; ``report`` is empty until it is done.

    ``case_limit`` None means all rows of the split. ``verdict`` repeats the report's, so that lists need not
    read the report.
    """

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="evaluations")
    trained_model = models.ForeignKey(TrainedModel, on_delete=models.CASCADE, related_name="evaluations")
    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="evaluations")
    work = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="evaluation")
    split = models.CharField(max_length=12, choices=Split.choices, default=Split.TEST)
    suites = models.JSONField(default=list)
    case_limit = models.PositiveIntegerField(null=True)
    verdict = models.CharField(max_length=12, choices=VerdictKind.choices, blank=True)
    verdict_sentence = models.TextField(blank=True)
    report = models.JSONField(default=dict)
    samples_name = models.CharField(max_length=300, blank=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["project", "-id"], name="evaluation_project_newest")]

    def __str__(self) -> str:
        return f"evaluation {self.id}"
