"""Human review: what was drawn, who looks at what, and what each of them said."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, Project, User
from evaluation_app.choices import Bucket, Choice, ReviewKind, ReviewState
from evaluation_app.models.evaluation import Evaluation
from web_kit.ids import ID_LENGTH, new_id


class Review(models.Model):
    """People's judgement of an evaluation's answers. Everything random in it follows from ``seed``.

    ``keys`` are the contenders whose answers are shown (two for pairs, one otherwise), ``rubric`` the list of
    ``{name, question, anchors}``, ``raters_per_item`` how many people are to judge each case.
    """

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="reviews")
    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="reviews")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=10, choices=ReviewKind.choices)
    state = models.CharField(max_length=6, choices=ReviewState.choices, default=ReviewState.OPEN)
    keys = models.JSONField(default=list)
    rubric = models.JSONField(default=list)
    instructions = models.TextField(blank=True)
    raters_per_item = models.PositiveSmallIntegerField(default=1)
    seed = models.PositiveBigIntegerField()
    drawing = models.JSONField(default=dict)  # {size, stratify_by, hardest}: how the sample was drawn
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True)
    results = models.JSONField(default=dict)  # frozen when it is closed
    idempotency_key = models.CharField(max_length=200, null=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "idempotency_key"], name="one_review_per_idempotency_key")
        ]

    def __str__(self) -> str:
        return self.name


class ReviewItem(models.Model):
    """One case of a review. ``answers`` is ``{key: text}``; ``decision`` is an owner's or trainer's last word where
    raters differ (a choice of pairs names the better key, ``tie`` or ``both_bad``)."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    review = models.ForeignKey(Review, on_delete=models.CASCADE, related_name="items")
    number = models.PositiveIntegerField()  # place in the drawing
    bucket = models.CharField(max_length=8, choices=Bucket.choices, default=Bucket.SAMPLE)
    row = models.PositiveIntegerField()  # of the snapshot
    stratum = models.CharField(max_length=200, blank=True)
    messages = models.JSONField()
    reference = models.TextField(blank=True)
    answers = models.JSONField(default=dict)
    decision = models.CharField(max_length=40, blank=True)
    decision_note = models.CharField(max_length=300, blank=True)
    decided_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    decided_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["review", "number"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["review", "number"], name="one_item_per_number")]

    def __str__(self) -> str:
        return f"item {self.number} of review {self.review_id}"


class ReviewerLink(models.Model):
    """An outside reviewer, who sees this queue and nothing else. Only the link's SHA-256 is kept."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    review = models.ForeignKey(Review, on_delete=models.CASCADE, related_name="links")
    name = models.CharField(max_length=120)
    email = models.EmailField(blank=True)
    token_sha256 = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    opened_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class ReviewLock(models.Model):
    """A case that lies on somebody's screen, with what was typed and not sent. ``rater`` names a person or a link.

    It holds a place among the case's raters until ``expires_at``; the draft outlives it.
    """

    id = models.BigAutoField(primary_key=True)
    item = models.ForeignKey(ReviewItem, on_delete=models.CASCADE, related_name="locks")
    rater = models.CharField(max_length=40)  # "user:<id>", "link:<id>" or "key:<id>"
    taken_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    is_skipped = models.BooleanField(default=False)
    draft = models.JSONField(default=dict)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["item", "rater"], name="one_lock_per_item_and_rater")]

    def __str__(self) -> str:
        return f"{self.rater} at {self.item_id}"


class Vote(models.Model):
    """What one rater said of one case. ``left_key`` says which contender stood on the left (pairs only), so that a
    choice can be read; ``marks`` is ``{rubric name: 1..5}``; ``lead_seconds`` from the card's opening to the vote."""

    id = models.BigAutoField(primary_key=True)
    item = models.ForeignKey(ReviewItem, on_delete=models.CASCADE, related_name="votes")
    rater = models.CharField(max_length=40)
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    link = models.ForeignKey(ReviewerLink, null=True, on_delete=models.SET_NULL, related_name="votes")
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    choice = models.CharField(max_length=8, choices=Choice.choices, blank=True)
    left_key = models.CharField(max_length=40, blank=True)
    marks = models.JSONField(default=dict)
    correction = models.TextField(blank=True)
    comment = models.TextField(blank=True)
    lead_seconds = models.FloatField(null=True)
    at = models.DateTimeField(default=timezone.now)
    sent_to_data_at = models.DateTimeField(null=True)  # when its correction became a candidate row

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["item", "rater"], name="one_vote_per_item_and_rater")]

    def __str__(self) -> str:
        return f"vote of {self.rater} on {self.item_id}"
