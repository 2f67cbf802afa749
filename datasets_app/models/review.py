"""What people do with rows: who holds which row, what was not yet sent, and every act so that it can be undone."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import User
from datasets_app.choices import Act
from datasets_app.models.data import Dataset


class RowLock(models.Model):
    """A row that lies on somebody's screen; nobody else is given it until ``expires_at``."""

    id = models.BigAutoField(primary_key=True)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="row_locks", db_index=False)
    row = models.PositiveIntegerField()
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    taken_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["dataset", "row"], name="one_lock_per_row")]


class Draft(models.Model):
    """An edit that was typed and not yet accepted."""

    id = models.BigAutoField(primary_key=True)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="drafts", db_index=False)
    row = models.PositiveIntegerField()
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    messages = models.JSONField()
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "row", "user"], name="one_draft_per_person_and_row"),
        ]


class BulkAct(models.Model):
    """One act on many rows. The rows point to it; undone, they are what the checks said again."""

    id = models.BigAutoField(primary_key=True)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="bulk_acts")
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    action = models.CharField(max_length=8, choices=Act.choices)
    filters = models.JSONField(default=dict)  # {status, code, split, q}
    rows = models.PositiveIntegerField(default=0)
    reached_row = models.PositiveIntegerField(null=True)  # where a long act goes on after; None once it is done
    created_at = models.DateTimeField(default=timezone.now)
    undone_at = models.DateTimeField(null=True)

    @property
    def going_on(self) -> str:
        """How an address names that this act is being gone on with."""
        return f"continue-{self.pk}"

    @property
    def going_back(self) -> str:
        """How an address names that this act is being taken back."""
        return f"undo-{self.pk}"


class ReviewAct(models.Model):
    """One decision of one person on one row, with what the row was before."""

    id = models.BigAutoField(primary_key=True)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="review_acts", db_index=False)
    row = models.PositiveIntegerField()
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    action = models.CharField(max_length=8, choices=Act.choices)
    before = models.JSONField()  # {status, decision, edited_messages, edited_label, assigned_to, bulk_act, ...}
    lead_seconds = models.FloatField(null=True)  # from the card's appearance to the decision
    note = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    undone_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["dataset", "user", "-id"], name="review_act_person"),
            models.Index(fields=["dataset", "row", "-id"], name="review_act_row"),
        ]


class ReviewTally(models.Model):
    """What one person did in one dataset on one day: counted as it happens, so that no page has to count rows.

    ``settled`` is how many rows left "needs review" through them, less those they brought back.
    """

    id = models.BigAutoField(primary_key=True)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="review_tallies", db_index=False)
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    day = models.DateField()
    decided = models.IntegerField(default=0)
    skipped = models.IntegerField(default=0)
    settled = models.IntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "user", "day"], name="one_tally_per_person_and_day"),
        ]
