"""Answers that are told again to questions that mean the same, and the record of every time that was done."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import Project, User
from serving_app.choices import HitVerdict
from web_kit.ids import ID_LENGTH, new_id


class SemanticEntry(models.Model):
    """An answer that may be told again. It belongs to one project and one model (``model_identity`` changes with the files);
    ``context_sha256`` covers everything but the question (system text, parameters). ``vector`` is the question's embedding
    (float16, unit length), made by ``embedder``. Denied entries stay for the record and are never told."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="semantic_entries")
    model_identity = models.CharField(max_length=250)
    context_sha256 = models.CharField(max_length=64)
    embedder = models.CharField(max_length=120)
    question = models.TextField()
    vector = models.BinaryField()
    answer = models.JSONField()
    request_id = models.CharField(max_length=ID_LENGTH, blank=True)  # whose answer it was
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    last_served_at = models.DateTimeField(null=True)
    denied_at = models.DateTimeField(null=True)
    denied_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["project", "model_identity", "id"], name="semantic_entry_model"),
            models.Index(fields=["expires_at"], name="semantic_entry_expiry"),
        ]

    @property
    def text(self) -> str:
        """The answer as text."""
        return "\n\n".join(str(choice[0]) for choice in self.answer.get("choices", ()))


class ForgetNotice(models.Model):
    """Word to every process that exact answers are not to be told again: the one under ``key``, the one behind
    ``request_id``, or with neither all of the project. It lies there for as long as such an answer may live."""

    id = models.BigAutoField(primary_key=True)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=64, blank=True)  # sha256 in hex
    request_id = models.CharField(max_length=ID_LENGTH, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["at"], name="forget_notice_at")]


class SemanticServing(models.Model):
    """One time that an entry was told: the question asked, how alike the two were, and what a person said of the pair."""

    id = models.BigAutoField(primary_key=True)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="semantic_servings")
    entry = models.ForeignKey(SemanticEntry, null=True, on_delete=models.SET_NULL, related_name="servings")
    request_id = models.CharField(max_length=ID_LENGTH, unique=True)
    asked = models.TextField()
    kept_question = models.TextField()
    similarity = models.FloatField()
    verdict = models.CharField(max_length=5, choices=HitVerdict.choices, blank=True)
    judged_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    judged_at = models.DateTimeField(null=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["project", "-id"], name="semantic_serving_newest"),
            models.Index(fields=["project"], condition=~models.Q(verdict=""), name="semantic_serving_judged"),
        ]
