"""Which model answers, which processes do the answering, and what was answered."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, Project, User
from jobs_app.models import TrainedModel
from serving_app.choices import PRODUCTION, DeploymentState, Door, Verdict
from web_kit.ids import ID_LENGTH, new_id


class Deployment(models.Model):
    """One model behind an alias, for as long as it is active. Rows are never moved to another model: deploying
    and rolling back make a new one, so the table is the alias's history.

    Exactly one of ``trained_model`` and ``base_model_key`` is set while the model exists; ``model_name`` is the
    name callers see and stays after the model was deleted. ``previous`` is what rolling back returns to.
    """

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="deployments")
    alias = models.CharField(max_length=40, default=PRODUCTION)
    trained_model = models.ForeignKey(TrainedModel, null=True, on_delete=models.SET_NULL, related_name="deployments")
    base_model_key = models.CharField(max_length=80, blank=True)
    model_name = models.CharField(max_length=250)
    state = models.CharField(max_length=8, choices=DeploymentState.choices, default=DeploymentState.ACTIVE)
    previous = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    retired_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["project", "alias"],
                condition=models.Q(state=DeploymentState.ACTIVE),
                name="one_active_deployment_per_alias",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.alias}: {self.model_name}"


class Replica(models.Model):
    """A process that answers. It counts while its heartbeat is fresh. ``address`` is ``unix:/path`` or an
    ``http://`` URL, ``loaded`` the serving ids of the models in its memory."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    address = models.CharField(max_length=300, unique=True)
    host = models.CharField(max_length=120)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    loaded = models.JSONField(default=list)

    def __str__(self) -> str:
        return self.address


class Prediction(models.Model):
    """One question and its answer. ``status`` is the HTTP status the caller got (499: they left before the end).

    ``input`` is ``{"text": ...}`` or ``{"messages": [...]}`` or ``{"prompt": ...}``. ``confidence`` is 0..1, None
    when the model gave none. Feedback: the newest verdict and correction.
    """

    id = models.BigAutoField(primary_key=True)
    request_id = models.CharField(max_length=ID_LENGTH, unique=True)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="predictions")
    deployment = models.ForeignKey(Deployment, null=True, on_delete=models.SET_NULL, related_name="predictions")
    door = models.CharField(max_length=12, choices=Door.choices)
    model_name = models.CharField(max_length=250)
    model_digest = models.CharField(max_length=128, blank=True)
    input = models.JSONField(default=dict)
    output = models.TextField(blank=True)
    params = models.JSONField(default=dict)
    latency_seconds = models.FloatField()
    first_token_seconds = models.FloatField(null=True)
    prompt_tokens = models.PositiveIntegerField(null=True)
    completion_tokens = models.PositiveIntegerField(null=True)
    confidence = models.FloatField(null=True)
    cached = models.BooleanField(default=False)
    status = models.PositiveSmallIntegerField(default=200)
    error = models.CharField(max_length=300, blank=True)
    at = models.DateTimeField()
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    verdict = models.CharField(max_length=4, choices=Verdict.choices, blank=True)
    correction = models.TextField(blank=True)
    feedback_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    feedback_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["project", "id"], name="prediction_project_id"),
            models.Index(fields=["project", "at"], name="prediction_project_at"),
        ]

    def __str__(self) -> str:
        return f"prediction {self.request_id}"

    @property
    def question(self) -> str:
        """What was asked last, as text."""
        messages = self.input.get("messages")
        if messages:
            return str(messages[-1].get("content", ""))
        return str(self.input.get("prompt") or "")

    @property
    def model_label(self) -> str:
        """The model in short: ``clauses on demo-base`` for ``ft:demo-base:project:clauses:id``."""
        parts = self.model_name.split(":")
        if parts[0] != "ft" or len(parts) < 5:
            return self.model_name
        return f"{parts[3] or parts[4][-6:]} on {parts[1]}"
