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

    ``location`` is an absolute folder (local), a hub name, or the model's name at an endpoint whose address is
    ``base_url``; ``report`` what the folder check found, empty for a hub model, which a worker downloads on first use.
    ``facts`` holds what the operator said of it, in the catalogue's words (context_length, price, ...).
    """

    key = models.CharField(primary_key=True, max_length=80)
    name = models.CharField(max_length=120)
    provider = models.CharField(max_length=10, choices=Provider.choices)
    location = models.CharField(max_length=500)
    revision = models.CharField(max_length=80, blank=True)
    base_url = models.CharField(max_length=300, blank=True)
    report = models.JSONField(default=dict)
    facts = models.JSONField(default=dict)
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class ProviderConnection(models.Model):
    """A project's key at a provider that speaks OpenAI's protocol. The key belongs to its address: another address is
    another row, with a key of its own. ``secret`` is encrypted (``web_kit.secrets``)."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="provider_connections")
    name = models.CharField(max_length=120)
    base_url = models.CharField(max_length=300)
    secret = models.TextField()
    last_four = models.CharField(max_length=4)
    checked_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=300, blank=True)  # what the last check found; blank when all was well
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "base_url"], name="one_key_per_address"),
        ]

    def __str__(self) -> str:
        return self.name


class Budget(models.Model):
    """What a project may spend at providers. Without a row every paid job is asked about."""

    project = models.OneToOneField(Project, primary_key=True, on_delete=models.CASCADE, related_name="budget")
    currency = models.CharField(max_length=3, default="USD")
    monthly_limit = models.DecimalField(max_digits=12, decimal_places=2, null=True)  # NULL: no limit
    ask_above = models.DecimalField(max_digits=12, decimal_places=2, default=0)  # cheaper jobs start without a question
    updated_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    updated_at = models.DateTimeField(default=timezone.now)


class Retention(models.Model):
    """How long a project keeps what ended jobs left behind. NULL keeps for ever."""

    project = models.OneToOneField(Project, primary_key=True, on_delete=models.CASCADE, related_name="retention")
    checkpoint_days = models.PositiveIntegerField(null=True)
    log_days = models.PositiveIntegerField(null=True)


class AdviceAnswers(models.Model):
    """What a project's people said when they asked whether to fine-tune: fields of the engine's ``Situation``."""

    project = models.OneToOneField(Project, primary_key=True, on_delete=models.CASCADE, related_name="advice")
    answers = models.JSONField(default=dict)
    verdict = models.CharField(max_length=20, blank=True)
    updated_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    updated_at = models.DateTimeField(default=timezone.now)


class TrainingJob(models.Model):
    """What to train and how. Its state lives in ``work``, whose id it shares.

    ``snapshot`` is empty only while the dataset is still being imported; ``spec`` holds the chosen fields of
    the engine's TrainingSpec, everything else is its default. ``validation_dataset`` holds rows of their own to check
    with, frozen as ``validation_snapshot``; ``parent_model`` is the trained model that this training goes on from. A
    job that a provider carries out names its ``connection``, and ``remote`` keeps the provider's ids. ``estimate`` is
    what was told before the start.
    """

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="training_jobs")
    work = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="training")
    name = models.CharField(max_length=120)
    suffix = models.CharField(max_length=64, blank=True)
    base_model_key = models.CharField(max_length=80)
    dataset = models.ForeignKey(Dataset, null=True, on_delete=models.SET_NULL, related_name="training_jobs")
    snapshot = models.ForeignKey(Snapshot, null=True, on_delete=models.SET_NULL, related_name="training_jobs")
    validation_dataset = models.ForeignKey(Dataset, null=True, on_delete=models.SET_NULL, related_name="+")
    validation_snapshot = models.ForeignKey(Snapshot, null=True, on_delete=models.SET_NULL, related_name="+")
    parent_model = models.ForeignKey("TrainedModel", null=True, on_delete=models.SET_NULL, related_name="continuations")
    cloned_from = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="clones")
    connection = models.ForeignKey(ProviderConnection, null=True, on_delete=models.SET_NULL, related_name="jobs")
    remote = models.JSONField(default=dict)
    estimate = models.JSONField(default=dict)
    cost_amount = models.DecimalField(max_digits=14, decimal_places=6, null=True)
    cost_currency = models.CharField(max_length=3, blank=True)
    cost_approved_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
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
    """What a successful training job left: an adapter in storage, and the record of how it was made.

    A job has one model of its own (``checkpoint_step`` NULL), and one more for each checkpoint that a person chose to
    use. A model that a provider keeps has no files here: ``remote_name`` is what the provider calls it.
    """

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="trained_models")
    training_job = models.ForeignKey(TrainingJob, on_delete=models.CASCADE, related_name="trained_models")
    checkpoint_step = models.PositiveIntegerField(null=True)
    name = models.CharField(max_length=120)
    base_model_key = models.CharField(max_length=80)
    api_name = models.CharField(max_length=250, unique=True)
    storage_prefix = models.CharField(max_length=200, blank=True)
    manifest_sha256 = models.CharField(max_length=64, blank=True)
    size_bytes = models.BigIntegerField(default=0)
    remote_name = models.CharField(max_length=250, blank=True)
    connection = models.ForeignKey(ProviderConnection, null=True, on_delete=models.SET_NULL, related_name="models")
    metrics = models.JSONField(default=dict)
    run = models.JSONField(default=dict)
    results_upload_id = models.CharField(max_length=ID_LENGTH, blank=True)  # the metrics as a file of the project
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["training_job"], condition=models.Q(checkpoint_step=None), name="one_model_per_training"
            ),
            models.UniqueConstraint(fields=["training_job", "checkpoint_step"], name="one_model_per_checkpoint"),
        ]
        indexes: ClassVar = [models.Index(fields=["project", "id"], name="trained_project_id")]

    def __str__(self) -> str:
        return self.name
