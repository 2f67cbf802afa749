"""Which model answers, and which processes do the answering."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, Project, User
from jobs_app.models import TrainedModel
from serving_app.choices import PRODUCTION, BackendKind, DeploymentRole, DeploymentState, ReplicaState
from web_kit.ids import ID_LENGTH, new_id


class Deployment(models.Model):
    """One model behind an alias, for as long as it is active. Rows are never moved to another model: deploying
    and rolling back make a new one, so the table is the alias's history.

    At most one of ``trained_model`` and ``base_model_key`` is set while the model exists (a model that a compatible
    server keeps is a ``base_model_key`` of provider ``endpoint``, or a trained model with a ``remote_name``);
    ``model_name`` is the name callers see and stays after the model was deleted. ``previous`` is what rolling back
    returns to. While it is ``preparing`` the replicas load it one after the other and the one before still answers.

    ``role`` other than ``main`` is a trial beside the main deployment: ``shadow`` answers copies of its questions for
    nobody to see, ``split`` answers ``share_percent`` of them.

    ``ask_human_below`` is a calibrated confidence, 0..1: answers below it are put before a person. None: never.
    ``semantic_threshold`` None means the default of ``finetune_engine.serve.semantic``.
    """

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="deployments")
    alias = models.CharField(max_length=40, default=PRODUCTION)
    role = models.CharField(max_length=6, choices=DeploymentRole.choices, default=DeploymentRole.MAIN)
    share_percent = models.PositiveSmallIntegerField(default=100)
    trained_model = models.ForeignKey(TrainedModel, null=True, on_delete=models.SET_NULL, related_name="deployments")
    base_model_key = models.CharField(max_length=80, blank=True)
    model_name = models.CharField(max_length=250)
    backend = models.CharField(max_length=12, choices=BackendKind.choices, default=BackendKind.AUTO)
    state = models.CharField(max_length=10, choices=DeploymentState.choices, default=DeploymentState.ACTIVE)
    progress = models.JSONField(default=dict)  # while preparing: {ready, replicas}; afterwards what was checked
    problem = models.CharField(max_length=300, blank=True)  # why it failed
    previous = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")
    default_temperature = models.FloatField(null=True)
    uses_exact_cache = models.BooleanField(default=True)
    uses_semantic_cache = models.BooleanField(default=False)
    semantic_threshold = models.FloatField(null=True)
    ask_human_below = models.FloatField(null=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    activated_at = models.DateTimeField(null=True)
    retired_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["project", "alias"],
                condition=models.Q(state="active", role="main"),
                name="one_active_main_per_alias",
            ),
            models.UniqueConstraint(
                fields=["project", "alias"],
                condition=models.Q(state="active") & ~models.Q(role="main"),
                name="one_active_trial_per_alias",
            ),
            models.UniqueConstraint(
                fields=["project", "alias", "role"],
                condition=models.Q(state="preparing"),
                name="one_preparing_per_role",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.alias}: {self.model_name}"


class Replica(models.Model):
    """A process that answers. It counts while its heartbeat is fresh. ``address`` is ``unix:/path`` or an
    ``http://`` URL, ``loaded`` the serving ids of the models in its memory, ``device`` what it computes on
    (``cpu``, ``cuda:0``), ``memory_bytes`` what it holds there."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    address = models.CharField(max_length=300, unique=True)
    host = models.CharField(max_length=120)
    pid = models.PositiveIntegerField()
    state = models.CharField(max_length=8, choices=ReplicaState.choices, default=ReplicaState.READY)
    device = models.CharField(max_length=60, blank=True)
    backends = models.JSONField(default=list)  # of BackendKind: what it can run
    memory_bytes = models.BigIntegerField(null=True)
    in_flight = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    loaded = models.JSONField(default=list)

    def __str__(self) -> str:
        return self.address
