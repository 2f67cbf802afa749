"""What a dataset, a row and a snapshot can be, and the words people read for it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from finetune_engine.data.codes import CODES
from finetune_engine.data.formats import all_formats, format_named


class DatasetState(models.TextChoices):
    """Where an import stands. ``ready`` and ``failed`` are the ends of the job behind it."""

    PROCESSING = "processing", _("Being checked")
    READY = "ready", _("Ready")
    FAILED = "failed", _("Could not be read")


class SnapshotState(models.TextChoices):
    """Where a frozen copy stands. ``deleted`` keeps the record of what it was, without its rows."""

    PROCESSING = "processing", _("Being frozen")
    READY = "ready", _("Ready")
    FAILED = "failed", _("Could not be made")
    DELETED = "deleted", _("Deleted")


class Status(models.TextChoices):
    """The one status of a row. Accepted and flagged rows go into a snapshot, the others stay out."""

    ACCEPTED = "accepted", _("Accepted")
    FLAGGED = "flagged", _("Flagged")
    NEEDS_REVIEW = "needs_review", _("Needs review")
    REJECTED = "rejected", _("Rejected")


STATUS_TONES: dict[str, str] = {
    Status.ACCEPTED: "ok",
    Status.FLAGGED: "warn",
    Status.NEEDS_REVIEW: "info",
    Status.REJECTED: "bad",
}

STATUS_MEANINGS: dict[str, object] = {
    Status.ACCEPTED: _("Go into the next snapshot"),
    Status.FLAGGED: _("Go in too, with a warning"),
    Status.NEEDS_REVIEW: _("Stay out until somebody decides"),
    Status.REJECTED: _("Stay out"),
}


class Decision(models.TextChoices):
    """What a person said about a row; empty while the checks alone have spoken."""

    NONE = "", _("as checked")
    ACCEPT = "accept", _("accepted by a person")
    REJECT = "reject", _("rejected by a person")
    EDIT = "edit", _("edited by a person")


class Act(models.TextChoices):
    """What a person does with a row in the review queue."""

    ACCEPT = "accept", _("accepted")
    REJECT = "reject", _("rejected")
    EDIT = "edit", _("edited")
    SKIP = "skip", _("skipped")
    UNDO = "undo", _("put back")


class PiiAction(models.TextChoices):
    """What happens to personal data of one kind when rows are frozen."""

    MASK = "mask", _("Replace by a placeholder")
    REJECT = "reject", _("Leave such rows out")
    KEEP = "keep", _("Keep as it is")


class PendingState(models.TextChoices):
    """Where a file stands that arrives in parts."""

    PENDING = "pending", _("Arriving")
    COMPLETED = "completed", _("Complete")
    CANCELLED = "cancelled", _("Cancelled")
    EXPIRED = "expired", _("Expired")


class TaskType(models.TextChoices):
    """What the model shall learn from the rows."""

    AUTO = "auto", _("Find out from the rows")
    CLASSIFICATION = "classification", _("Choose a label for a text")
    COMPLETION = "completion", _("Write an answer to a text")
    CHAT = "chat", _("Hold a conversation")
    PREFERENCE = "preference", _("Prefer one answer to another")


OVER_LENGTH: dict[str, object] = {
    "keep": _("Keep them, with a warning"),
    "cut": _("Cut the input so that they fit"),
    "drop": _("Leave them out"),
}


class Purpose(models.TextChoices):
    """What an uploaded file is for; the words of ``/v1/files``."""

    FINE_TUNE = "fine-tune", _("Fine-tuning")
    EVALS = "evals", _("Evaluation")
    RESULTS = "fine-tune-results", _("Results of a training")


SPLITS: tuple[str, ...] = ("train", "validation", "test")
SPLIT_LABELS: dict[str, object] = {
    "train": _("Train: the model learns from these"),
    "validation": _("Validation: tells when to stop"),
    "test": _("Test: kept back to judge the model"),
}
DEFAULT_SPLIT: dict[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


def format_choices() -> list[tuple[str, str]]:
    """What a person may choose as the format of a file: ``auto`` and every format that can be imported."""
    return [("auto", str(_("Find out from the file"))), *((f.name, f.title) for f in all_formats() if f.usable)]


def code_title(code: str) -> str:
    """The plain words for a finding's code."""
    known = CODES.get(code)
    return known.title if known else code.replace("_", " ").capitalize()


def format_title(name: str) -> str:
    """The plain words for a format's name."""
    known = format_named(name)
    return known.title if known else name.replace("_", " ")
