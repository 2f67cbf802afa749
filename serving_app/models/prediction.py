"""What was asked and answered, how long that is kept, and what remains of it as counts."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, Project, User
from serving_app.choices import CacheKind, Door, Verdict
from serving_app.models.deployment import Deployment
from web_kit.ids import ID_LENGTH


class Prediction(models.Model):
    """One question and its answer. ``status`` is the HTTP status the caller got (499: they left before the end).

    ``input`` is ``{"text": ...}``, ``{"messages": [...]}``, ``{"prompt": ...}`` or, to be embedded, ``{"texts": [...]}``;
    ``question_text`` what was asked last, for searching. ``confidence`` is 0..1 as the model's tokens say it, ``calibrated``
    the share of such answers that are right; None when unknown. ``needs_human``: it fell below the deployment's threshold;
    ``handled_at`` when a person dealt with it. ``shadow_of`` is the request id of the question that this one copies.
    ``verdict`` and ``correction`` repeat the newest feedback. ``is_masked``: personal data were replaced before it was
    written.
    """

    id = models.BigAutoField(primary_key=True)
    request_id = models.CharField(max_length=ID_LENGTH, unique=True)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="predictions")
    deployment = models.ForeignKey(Deployment, null=True, on_delete=models.SET_NULL, related_name="predictions")
    door = models.CharField(max_length=12, choices=Door.choices)
    task = models.CharField(max_length=100, blank=True)
    model_name = models.CharField(max_length=250)
    model_digest = models.CharField(max_length=128, blank=True)
    input = models.JSONField(default=dict)
    question_text = models.TextField(blank=True)
    output = models.TextField(blank=True)
    params = models.JSONField(default=dict)
    latency_seconds = models.FloatField()
    first_token_seconds = models.FloatField(null=True)
    prompt_tokens = models.PositiveIntegerField(null=True)
    completion_tokens = models.PositiveIntegerField(null=True)
    confidence = models.FloatField(null=True)
    calibrated = models.FloatField(null=True)
    needs_human = models.BooleanField(default=False)
    handled_at = models.DateTimeField(null=True)
    handled_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    cached = models.BooleanField(default=False)
    cache_kind = models.CharField(max_length=8, choices=CacheKind.choices, blank=True)
    shadow_of = models.CharField(max_length=ID_LENGTH, blank=True)
    served_by = models.CharField(max_length=300, blank=True)  # the replica's address
    is_masked = models.BooleanField(default=False)
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
            models.Index(
                fields=["project", "id"],
                condition=models.Q(needs_human=True, handled_at=None),
                name="prediction_waits_for_person",
            ),
            models.Index(fields=["shadow_of"], condition=~models.Q(shadow_of=""), name="prediction_shadow_of"),
            # What people filter for is rare: without these a page of it reads a whole log of a million rows.
            models.Index(fields=["project", "id"], condition=~models.Q(verdict=""), name="prediction_judged"),
            models.Index(fields=["project", "id"], condition=models.Q(status__gte=400), name="prediction_unanswered"),
            models.Index(
                fields=["project", "handled_at"],
                condition=models.Q(handled_at__isnull=False),
                name="prediction_handled",
            ),
        ]

    def __str__(self) -> str:
        return f"prediction {self.request_id}"

    @property
    def question(self) -> str:
        """What was asked last, as text."""
        messages = self.input.get("messages")
        if messages:
            return str(messages[-1].get("content") or "")
        return str(self.input.get("prompt") or "")

    @property
    def model_label(self) -> str:
        """The model in short: ``clauses on demo-base`` for ``ft:demo-base:project:clauses:id``."""
        parts = self.model_name.split(":")
        if parts[0] != "ft" or len(parts) < 5:
            return self.model_name
        return f"{parts[3] or parts[4][-6:]} on {parts[1]}"


class LogPolicy(models.Model):
    """How a project keeps its prediction log. Without a row: ninety days, texts as they are."""

    project = models.OneToOneField(Project, primary_key=True, on_delete=models.CASCADE, related_name="log_policy")
    keep_days = models.PositiveIntegerField(null=True, default=90)  # NULL keeps for ever
    masks_personal_data = models.BooleanField(default=False)
    keeps_texts = models.BooleanField(default=True)  # False: only counts and durations
    updated_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    updated_at = models.DateTimeField(default=timezone.now)


class TrafficBucket(models.Model):
    """Five minutes of one model and key as counts. Outlives the log, and is what usage, plots and alerts are read from.

    ``deployment_ref`` and ``key_ref`` are ids as text, empty for none (so that they can stand in the constraint).
    The histograms are lists of counts over the edges of ``serving_app.histograms``.
    """

    id = models.BigAutoField(primary_key=True)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="traffic_buckets")
    deployment_ref = models.CharField(max_length=ID_LENGTH, blank=True)
    key_ref = models.CharField(max_length=ID_LENGTH, blank=True)
    model_name = models.CharField(max_length=250)
    is_shadow = models.BooleanField(default=False)
    start_at = models.DateTimeField()
    requests = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)  # 4xx
    failed = models.PositiveIntegerField(default=0)  # 5xx
    left = models.PositiveIntegerField(default=0)  # 499
    exact_hits = models.PositiveIntegerField(default=0)
    semantic_hits = models.PositiveIntegerField(default=0)
    needs_human = models.PositiveIntegerField(default=0)
    prompt_tokens = models.PositiveBigIntegerField(default=0)
    completion_tokens = models.PositiveBigIntegerField(default=0)
    latency_sum = models.FloatField(default=0.0)  # seconds, of answers with status 200
    confidence_sum = models.FloatField(default=0.0)  # of those that ``confidence`` counts
    latency = models.JSONField(default=list)
    first_token = models.JSONField(default=list)
    confidence = models.JSONField(default=list)
    question_length = models.JSONField(default=list)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["project", "start_at", "deployment_ref", "key_ref", "model_name", "is_shadow"],
                name="one_bucket_per_five_minutes",
            ),
        ]
