"""Models as files that run elsewhere."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, Project, User
from jobs_app.models import TrainedModel
from serving_app.choices import ExportKind
from web_kit.ids import ID_LENGTH, new_id
from work_kit.models import Job


class ModelExport(models.Model):
    """One archive of a trained model. Where it stands is the state of ``work``, whose id it shares; ``checks`` is what
    was compared with the model as it is served (``finetune_engine.export``)."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="model_exports")
    trained_model = models.ForeignKey(TrainedModel, on_delete=models.CASCADE, related_name="exports")
    work = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="model_export")
    kind = models.CharField(max_length=8, choices=ExportKind.choices)
    storage_name = models.CharField(max_length=300, blank=True)
    size_bytes = models.BigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)
    checks = models.JSONField(default=dict)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["project", "-id"], name="export_newest")]
