"""What an expert demands of every later model: rules on answers, and cases that must never break again."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, Project, User
from evaluation_app.choices import RuleKind
from web_kit.ids import ID_LENGTH, new_id


class AcceptanceRule(models.Model):
    """One demand on every answer. ``demand`` holds what its kind needs (see ``finetune_engine.evaluate.rules``).

    ``removed_at`` set: it no longer applies, and reports that name it stay readable.
    """

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="acceptance_rules")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=12, choices=RuleKind.choices)
    demand = models.JSONField(default=dict)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.name


class RegressionCase(models.Model):
    """A case that no later model may get wrong. ``messages`` end before the answer, ``expected`` is a right one.

    ``origin`` says where it came from: ``{kind, id, row?}``.
    """

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="regression_cases")
    messages = models.JSONField()
    expected = models.TextField()
    note = models.CharField(max_length=300, blank=True)
    origin = models.JSONField(default=dict)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"regression case {self.id}"
