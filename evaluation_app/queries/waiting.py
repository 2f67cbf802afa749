"""Which human review still waits for votes."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count

from evaluation_app.choices import ReviewState
from evaluation_app.models import Evaluation, Review


@dataclass(frozen=True)
class WaitingReview:
    """An open review. ``missing`` is how many votes it still lacks, 0 when it only has to be closed."""

    id: str
    missing: int


def waiting_review(evaluation: Evaluation) -> WaitingReview | None:
    """The newest open review of this evaluation's answers; None without one. One query."""
    rows = Review.objects.filter(evaluation=evaluation, state=ReviewState.OPEN).order_by("-id")
    counted = rows.annotate(cases=Count("items", distinct=True), voted=Count("items__votes", distinct=True))
    found = counted.values_list("id", "cases", "voted", "raters_per_item").first()
    if found is None:
        return None
    review_id, cases, voted, raters = found
    return WaitingReview(review_id, max(0, cases * raters - voted))
