"""The states of a job, the moves between them, and why jobs fail."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class State(models.TextChoices):
    """Where a job stands. The last three never change again."""

    QUEUED = "queued", _("Waiting")
    PREPARING = "preparing", _("Preparing")
    RUNNING = "running", _("Running")
    SAVING = "saving", _("Saving")
    PAUSED = "paused", _("Paused")
    STOPPING = "stopping", _("Stopping")
    SUCCEEDED = "succeeded", _("Done")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
LEASED = frozenset({State.PREPARING, State.RUNNING, State.SAVING, State.STOPPING})
OPEN = frozenset(State.values) - TERMINAL


class StopAction(models.TextChoices):
    """What a person asked of a running job; the words of ``finetune_engine.ports.Action``."""

    NONE = "", _("nothing")
    CANCEL = "cancel", _("Cancel and discard")
    STOP_AND_KEEP = "stop_and_keep", _("Stop and keep the best so far")
    PAUSE = "pause", _("Pause")


class Reason(models.TextChoices):
    """Why a job failed: a sentence for people. ``ADVICE`` says what to do next."""

    BAD_DATA = "bad_data", _("The data cannot be used as it is.")
    BAD_CONFIG = "bad_config", _("The settings cannot be used as they are.")
    OOM_GPU = "oom_gpu", _("The graphics card ran out of memory.")
    OOM_HOST = "oom_host", _("The machine ran out of memory.")
    DIVERGED = "diverged", _("The training went astray: its loss is no longer a number.")
    DISK_FULL = "disk_full", _("The disk is full.")
    STORAGE_UNREACHABLE = "storage_unreachable", _("The file storage does not answer.")
    WORKER_LOST = "worker_lost", _("The machine that ran this job went away.")
    CRASH_LOOP = "crash_loop", _("The job stopped unexpectedly several times without getting further.")
    DEADLINE = "deadline", _("The job took longer than it was allowed to.")
    MODEL_UNAVAILABLE = "model_unavailable", _("The base model could not be loaded.")
    PROVIDER_ERROR = "provider_error", _("The provider of the model refused or failed.")
    INTERNAL = "internal", _("Something went wrong on our side.")


ADVICE: dict[str, object] = {
    Reason.BAD_DATA: _("Mend the rows named in the message and start again."),
    Reason.BAD_CONFIG: _("Change the settings named in the message and start again."),
    Reason.OOM_GPU: _("Choose a smaller batch, shorter texts or a smaller base model."),
    Reason.OOM_HOST: _("Choose a smaller batch or a smaller base model, or free memory on the machine."),
    Reason.DIVERGED: _("Choose a smaller learning rate; the last good checkpoint is kept."),
    Reason.DISK_FULL: _("Free some space (see the clean-up advice of `manage.py doctor`), then start again."),
    Reason.STORAGE_UNREACHABLE: _("Check the storage; nothing was lost. Then start again."),
    Reason.WORKER_LOST: _("Check that a worker is running (page Jobs), then start again."),
    Reason.CRASH_LOOP: _("Read the log below; if it does not help, send it to the person who runs this site."),
    Reason.DEADLINE: _("Train on fewer rows or with fewer passes, or raise the limit."),
    Reason.MODEL_UNAVAILABLE: _("Choose another base model, or ask the operator to add it again."),
    Reason.PROVIDER_ERROR: _("Read the provider's answer below; check the key and the account."),
    Reason.INTERNAL: _("Start again; if it fails again, send the log to the person who runs this site."),
}

RETRIED = frozenset({Reason.WORKER_LOST, Reason.STORAGE_UNREACHABLE, Reason.INTERNAL})
OUT_OF_MEMORY = frozenset({Reason.OOM_GPU, Reason.OOM_HOST})  # tried again only in smaller pieces

PHASES: dict[str, object] = {
    "waiting": _("Waiting for a free worker"),
    "starting": _("Starting"),
    "validating": _("Checking the data"),
    "downloading model": _("Downloading the base model"),
    "loading model": _("Loading the base model"),
    "preparing data": _("Preparing the data"),
    "comparing rows": _("Comparing the rows with each other"),
    "writing": _("Writing the rows down"),
    "uploading": _("Sending the rows to the provider"),
    "waiting at the provider": _("Waiting at the provider"),
    "stopping at the provider": _("Stopping it at the provider"),
    "training": _("Training"),
    "evaluating": _("Evaluating"),
    "saving": _("Saving"),
    "done": _("Done"),
}


class Queue(models.TextChoices):
    """Which workers may take a job."""

    CPU = "cpu", _("Any machine")
    GPU = "gpu", _("Training machines")
    REMOTE = "remote", _("Work that a provider does")


class MailAbout(models.TextChoices):
    """Which ended jobs a person wants to hear of."""

    NOTHING = "nothing", _("Nothing")
    FAILURES = "failures", _("My jobs that fail")
    MINE = "mine", _("All my jobs")
    ALL = "all", _("All jobs of this project")


WEBHOOK_EVENTS = (
    "fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled",
    "serving.alert.opened", "serving.alert.closed",
)  # fmt: skip
