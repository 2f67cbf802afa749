"""Files that arrive in parts, and what a project has decided about its files once and for all."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, Project, User
from datasets_app.choices import PendingState, Purpose
from datasets_app.models.data import Upload
from web_kit.ids import ID_LENGTH, new_id


class PendingUpload(models.Model):
    """A file that is still arriving, in parts; ``/v1/uploads`` shows it as ``upload_<id>``. It becomes an ``Upload``."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="pending_uploads")
    name = models.CharField(max_length=200)
    size = models.BigIntegerField()  # bytes, as announced
    mime_type = models.CharField(max_length=100, blank=True)
    purpose = models.CharField(max_length=20, choices=Purpose.choices, default=Purpose.FINE_TUNE)
    state = models.CharField(max_length=10, choices=PendingState.choices, default=PendingState.PENDING)
    upload = models.ForeignKey(Upload, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["state", "expires_at"], name="pending_upload_expiry")]


class UploadPart(models.Model):
    """One part of a pending upload. ``offset`` is its place in the file where the sender said it, else None and the
    order is given at the end."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    pending = models.ForeignKey(PendingUpload, on_delete=models.CASCADE, related_name="parts")
    offset = models.BigIntegerField(null=True)
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    storage_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["pending", "offset"], name="one_part_per_offset"),
        ]


class DataPolicy(models.Model):
    """What a project decided about its data: applied to every new dataset and snapshot until changed.

    ``pii`` maps kinds to mask, reject or keep; kinds that are not in it are masked. ``cleaning`` None means the
    usual steps.
    """

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="data_policy")
    pii = models.JSONField(default=dict)
    cleaning = models.JSONField(null=True)  # names of steps, in order
    replacements = models.JSONField(default=list)  # [{find, replace, is_regex}]
    boilerplate = models.JSONField(default=list)  # [pattern]
    decided = models.JSONField(default=dict)  # {kind or "cleaning": {user, key, at}}
    updated_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    updated_at = models.DateTimeField(default=timezone.now)


class RememberedMapping(models.Model):
    """Which columns hold what, as chosen for an earlier file with the same columns."""

    id = models.BigAutoField(primary_key=True)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="remembered_mappings")
    columns_hash = models.CharField(max_length=64)
    options = models.JSONField()  # {format, mapping, task_type}
    used_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "columns_hash"], name="one_mapping_per_columns"),
        ]
