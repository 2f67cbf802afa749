"""Base models an operator added, training jobs, their checkpoints, and the models that came out."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, Project, User
from datasets_app.models import Dataset, Snapshot
from jobs_app.choices import Provider
from web_kit.ids import ID_LENGTH, new_id
from work_kit.models import Job


class BaseModel(models.Model):
    """A base model that the operator added with ``add_base_model``; the catalogue's own have no row.

    ``location`` is an absolute folder (local) or a hub name; ``report`` what the folder check found, empty for
    a hub model, which a worker downloads on first use.
    """

    key = models.CharField(primary_key=True, max_length=80)
    name = models.CharField(max_length=120)
    provider = models.CharField(max_length=10, choices=Provider.choices)
    location = models.CharField(max_length=500)
    revision = models.CharField(max_length=80, blank=True)
    report = models.JSONField(default=dict)
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class TrainingJob(models.Model):
    """What to train and how. Its state lives in ``work``, whose id it shares.

    ``snapshot`` is empty only while the dataset is still being imported; ``spec`` holds the chosen fields of
    the engine's TrainingSpec, everything else is its default.
    """

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="training_jobs")
    work = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="training")
    name = models.CharField(max_length=120)
    suffix = models.CharField(max_length=64, blank=True)
    base_model_key = models.CharField(max_length=80)
    dataset = models.ForeignKey(Dataset, null=True, on_delete=models.SET_NULL, related_name="training_jobs")
    snapshot = models.ForeignKey(Snapshot, null=True, on_delete=models.SET_NULL, related_name="training_jobs")
    spec = models.JSONField(default=dict)
    metadata = models.JSONField(default=dict)
    openai_request = models.JSONField(default=dict)
    request_sha256 = models.CharField(max_length=64, blank=True)  # of key and body, to know a repeated POST
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["project", "id"], name="training_project_id"),
            models.Index(fields=["project", "request_sha256"], name="training_request"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def openai_id(self) -> str:
        """The id in OpenAI's face: ``ftjob-...``."""
        return f"ftjob-{self.pk}"


class Checkpoint(models.Model):
    """A state of training that can be continued. It counts only once ``is_committed``: its files are in storage
    and their manifest verifies."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    training_job = models.ForeignKey(TrainingJob, on_delete=models.CASCADE, related_name="checkpoints")
    attempt = models.PositiveIntegerField()
    step = models.PositiveIntegerField()
    metrics = models.JSONField(default=dict)
    is_best = models.BooleanField(default=False)
    storage_prefix = models.CharField(max_length=200, blank=True)
    manifest_sha256 = models.CharField(max_length=64, blank=True)
    is_committed = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["training_job", "attempt", "step"], name="one_checkpoint_per_step"),
        ]


class TrainedModel(models.Model):
    """What a successful training job left: an adapter in storage, and the record of how it was made."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="trained_models")
    training_job = models.OneToOneField(TrainingJob, on_delete=models.CASCADE, related_name="trained_model")
    name = models.CharField(max_length=120)
    base_model_key = models.CharField(max_length=80)
    api_name = models.CharField(max_length=250, unique=True)
    storage_prefix = models.CharField(max_length=200)
    manifest_sha256 = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    metrics = models.JSONField(default=dict)
    run = models.JSONField(default=dict)
    results_upload_id = models.CharField(max_length=ID_LENGTH, blank=True)  # the metrics as a file of the project
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["project", "id"], name="trained_project_id")]

    def __str__(self) -> str:
        return self.name
