"""Jobs, what happened in them, and who is there to do them. The database is the only truth about a job."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, Project, User
from web_kit.ids import ID_LENGTH, new_id
from work_kit.choices import MailAbout, Queue, Reason, State, StopAction


class Job(models.Model):
    """One piece of long work. Only ``work_kit.operations`` writes it.

    While a worker holds the job, ``(attempt, lease_token)`` is its fence: every write of the worker carries
    both in its WHERE clause, and zero rows means that somebody else has taken over.
    """

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="work")
    kind = models.CharField(max_length=40)
    queue = models.CharField(max_length=8, choices=Queue.choices)
    title = models.CharField(max_length=200)
    params = models.JSONField(default=dict)

    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    phase = models.CharField(max_length=30, default="waiting")
    stop_action = models.CharField(max_length=14, choices=StopAction.choices, default=StopAction.NONE, blank=True)
    stop_requested_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    failure_reason = models.CharField(max_length=20, choices=Reason.choices, blank=True)
    failure = models.JSONField(default=dict)  # {code, message, file?, row?, ...}
    result = models.JSONField(default=dict)

    progress_done = models.BigIntegerField(default=0)
    progress_total = models.BigIntegerField(null=True)
    progress_unit = models.CharField(max_length=20, blank=True)
    eta_seconds = models.FloatField(null=True)

    attempt = models.PositiveIntegerField(default=0)
    fruitless_attempts = models.PositiveIntegerField(default=0)  # in a row, without a newer checkpoint
    checkpointed_in_attempt = models.PositiveIntegerField(default=0)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_expires_at = models.DateTimeField(null=True)
    available_at = models.DateTimeField()
    host = models.CharField(max_length=120, blank=True)
    device = models.CharField(max_length=60, blank=True)

    idempotency_key = models.CharField(max_length=200, null=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "kind", "idempotency_key"], name="one_job_per_idempotency_key"),
            models.CheckConstraint(
                name="reason_exactly_when_failed",
                condition=models.Q(state=State.FAILED) ^ models.Q(failure_reason=""),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["state", "available_at"], name="job_state_available"),
            models.Index(fields=["project", "kind", "id"], name="job_project_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class JobEvent(models.Model):
    """What happened in a job, in order. Append-only; ``id`` is the cursor of every reader."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    attempt = models.PositiveIntegerField()
    seq = models.BigIntegerField(null=True)  # byte offset in the attempt's event file; NULL for our own events
    kind = models.CharField(max_length=12)
    data = models.JSONField(default=dict)
    at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["job", "attempt", "seq"], name="each_line_recorded_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["job", "id"], name="event_job_id")]


class Worker(models.Model):
    """A process that takes jobs; it is there while its heartbeat is fresh."""

    name = models.CharField(primary_key=True, max_length=160)
    host = models.CharField(max_length=120)
    queue = models.CharField(max_length=8, choices=Queue.choices)
    device = models.CharField(max_length=60, blank=True)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    memory_bytes = models.BigIntegerField(null=True)
    memory_free_bytes = models.BigIntegerField(null=True)
    disk_free_bytes = models.BigIntegerField(null=True)  # where the work folders lie


class Device(models.Model):
    """A GPU, or a machine's processor, and who uses it, so that training and serving do not evict each other."""

    host = models.CharField(max_length=120)
    name = models.CharField(max_length=60)
    label = models.CharField(max_length=120, blank=True)
    memory_bytes = models.BigIntegerField(null=True)
    memory_free_bytes = models.BigIntegerField(null=True)
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="+")
    lease_token = models.CharField(max_length=32, blank=True)
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["host", "name"], name="one_row_per_device")]


class WebhookEndpoint(models.Model):
    """An address that wants to hear of a project's jobs. ``secret`` is encrypted (``web_kit.secrets``); ``events`` are
    names of ``choices.WEBHOOK_EVENTS``."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="webhooks")
    url = models.CharField(max_length=500)
    secret = models.TextField()
    events = models.JSONField(default=list)
    is_enabled = models.BooleanField(default=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)


class Delivery(models.Model):
    """The outbox: one message to one address, written with what it tells and sent afterwards, until it is taken."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, null=True, on_delete=models.CASCADE, related_name="deliveries")
    recipient = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="+")  # by e-mail instead
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="deliveries")
    event = models.CharField(max_length=60)
    payload = models.JSONField(default=dict)
    attempts = models.PositiveIntegerField(default=0)
    available_at = models.DateTimeField(default=timezone.now)
    delivered_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)
    response_status = models.PositiveIntegerField(null=True)
    problem = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="one_kind_of_receiver",
                condition=models.Q(endpoint=None) ^ models.Q(recipient=None),
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["delivered_at", "given_up_at", "available_at"], name="delivery_due")]


class MailWish(models.Model):
    """Which of a project's ended jobs a person wants an e-mail about. Without a row: those of one's own that failed."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="mail_wishes")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="mail_wishes")
    about = models.CharField(max_length=10, choices=MailAbout.choices, default=MailAbout.FAILURES)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "project"], name="one_wish_per_project")]
