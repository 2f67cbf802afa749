"""States of a deployment, the doors a prediction came through, and what people think of it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

PRODUCTION = "production"
"""The one alias: what answers when a caller names no model."""


class DeploymentState(models.TextChoices):
    """A deployment is never changed, only retired."""

    ACTIVE = "active", _("In use")
    RETIRED = "retired", _("Retired")


class Door(models.TextChoices):
    """Where a question came in."""

    PREDICT = "predict", _("Simple endpoint")
    CHAT = "chat", _("Chat completions")
    COMPLETIONS = "completions", _("Completions")
    PLAYGROUND = "playground", _("Playground")


class Verdict(models.TextChoices):
    """What a person thinks of an answer."""

    GOOD = "good", _("Good")
    BAD = "bad", _("Bad")


REPLICA_FRESH_SECONDS = 15.0
REPLICA_HEARTBEAT_SECONDS = 5.0
STARTING = "The model server is starting; try again in a few seconds."
