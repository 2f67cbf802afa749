"""How often a model is right when it is so sure."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import Project, User
from evaluation_app.models import Evaluation
from jobs_app.models import TrainedModel
from web_kit.ids import ID_LENGTH, new_id


class Calibration(models.Model):
    """A curve from a model's own confidence to the share of answers that are right, learnt from an evaluation.

    ``curve`` is ``{x: [...], y: [...]}``, both rising in 0..1, read between its points along straight lines; ``report`` is what
    ``finetune_engine.serve.calibration`` measured on rows that it did not learn from.
    """

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="calibrations")
    trained_model = models.ForeignKey(TrainedModel, null=True, on_delete=models.CASCADE, related_name="calibrations")
    evaluation = models.ForeignKey(Evaluation, null=True, on_delete=models.SET_NULL, related_name="calibrations")
    curve = models.JSONField()
    report = models.JSONField(default=dict)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["trained_model", "-id"], name="calibration_newest")]
