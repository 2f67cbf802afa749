"""Where base models come from, what a training job may be asked, and how its state reads elsewhere."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from work_kit.choices import OPEN, State, StopAction

KIND = "jobs.train"
PROBE_KIND = "jobs.probe"


class Provider(models.TextChoices):
    """Where a base model's weights are."""

    BUNDLED = "bundled", _("Comes with Tunesmith")
    LOCAL = "local", _("A folder on this machine")
    HUB = "hub", _("Hugging Face Hub")
    OPENAI = "openai", _("OpenAI")
    ENDPOINT = "endpoint", _("An OpenAI-compatible service")


# Which stop a person may ask for in which state. Nothing is kept before training has begun.
STOPS: dict[str, frozenset[str]] = {
    StopAction.CANCEL: frozenset(OPEN) - {State.STOPPING, State.SAVING},
    StopAction.PAUSE: frozenset({State.PREPARING, State.RUNNING}),
    StopAction.STOP_AND_KEEP: frozenset({State.RUNNING}),
}

# OpenAI's words for our states. Stopping and saving are still "running" to a client; before training begins a
# job is "validating_files".
OPENAI_STATUS: dict[str, str] = {
    State.QUEUED: "queued",
    State.PREPARING: "validating_files",
    State.RUNNING: "running",
    State.SAVING: "running",
    State.STOPPING: "running",
    State.PAUSED: "paused",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}
BEFORE_TRAINING = frozenset({"validating", "downloading model", "loading model", "preparing data"})
