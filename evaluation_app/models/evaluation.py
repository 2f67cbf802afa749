"""Evaluations: a trained model asked about rows that it has not learnt, beside its base model and others."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, Project, User
from datasets_app.models import Snapshot
from evaluation_app.choices import ContenderKind, Split, VerdictKind
from jobs_app.models import ProviderConnection, TrainedModel
from web_kit.ids import ID_LENGTH, new_id
from work_kit.models import Job


class Evaluation(models.Model):
    """One comparison. Where it stands is the state of ``work``, whose id it shares; ``report`` is empty until it is done.

    ``trained_model`` is the one that the verdict is about; all models asked are its ``contenders``. ``case_limit``
    None means all rows of the split. ``settings`` is what was chosen beyond that (headline, metrics, weights, slices,
    fairness, prices, judge). ``verdict``, ``overall_score`` and the headline's figures repeat the report's, so that
    lists and plots need not read it. ``repeated_from`` is the evaluation that was run again on other data.
    """

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="evaluations")
    trained_model = models.ForeignKey(TrainedModel, on_delete=models.CASCADE, related_name="evaluations")
    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="evaluations")
    work = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="evaluation")
    split = models.CharField(max_length=12, choices=Split.choices, default=Split.TEST)
    suites = models.JSONField(default=list)
    case_limit = models.PositiveIntegerField(null=True)
    settings = models.JSONField(default=dict)
    repeated_from = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="repeats")
    verdict = models.CharField(max_length=12, choices=VerdictKind.choices, blank=True)
    verdict_sentence = models.TextField(blank=True)
    headline = models.CharField(max_length=40, blank=True)
    headline_value = models.FloatField(null=True)
    headline_low = models.FloatField(null=True)
    headline_high = models.FloatField(null=True)
    cases = models.PositiveIntegerField(null=True)  # how many were asked
    overall_score = models.FloatField(null=True)  # 0..1
    report = models.JSONField(default=dict)
    samples_name = models.CharField(max_length=300, blank=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["project", "-id"], name="evaluation_project_newest")]

    def __str__(self) -> str:
        return f"evaluation {self.id}"


class Contender(models.Model):
    """One model of an evaluation. ``key`` names its columns in the report; exactly one is the subject, at most one
    what the subject is compared with. ``prompt`` is ``{system, shots}`` for a base model that is asked with other
    wording or with examples; ``remote_name`` the model's name at ``connection`` (an OpenAI-compatible server)."""

    id = models.BigAutoField(primary_key=True)
    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="contenders")
    key = models.CharField(max_length=40)
    kind = models.CharField(max_length=10, choices=ContenderKind.choices)
    name = models.CharField(max_length=250)
    trained_model = models.ForeignKey(TrainedModel, null=True, on_delete=models.SET_NULL, related_name="+")
    base_model_key = models.CharField(max_length=80, blank=True)
    connection = models.ForeignKey(ProviderConnection, null=True, on_delete=models.SET_NULL, related_name="+")
    remote_name = models.CharField(max_length=250, blank=True)
    prompt = models.JSONField(default=dict)
    is_subject = models.BooleanField(default=False)
    is_reference = models.BooleanField(default=False)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["evaluation", "key"], name="one_contender_per_key")]

    def __str__(self) -> str:
        return f"{self.name} in evaluation {self.evaluation_id}"
