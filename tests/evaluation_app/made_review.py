"""An evaluation with answers in storage, and votes without a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from evaluation_app.models import Evaluation, Review, ReviewItem
from evaluation_app.operations import review_votes
from evaluation_app.operations.reviews import start_review
from evaluation_app.permissions import Rater, rater_of
from work_kit.files import store_file

BASE = "The party pays in spring, says clause {}."
TUNED = "Payment under clause {} falls due in spring."


def give_answers(evaluation: Evaluation, folder: Path, n: int = 12) -> Evaluation:
    """Store ``n`` cases with answers of two models, whose texts tell them apart for the tests alone."""
    rows: list[dict[str, Any]] = []
    for i in range(1, n + 1):
        question = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"When is clause {i} due?"}]
        rows.append(
            {
                "row": i + 100,
                "prompt": f"When is clause {i} due?",
                "reference": f"In spring ({i}).",
                "label": None,
                "messages": json.dumps(question),
                "metadata": json.dumps({"kind": "lease" if i % 4 == 0 else "loan"}),
                "base_answer": BASE.format(i),
                "tuned_answer": TUNED.format(i) + "  \n",
                "base_nll": 9.0,
                "tuned_nll": float(i),
                "tuned_tokens": 2,
            }
        )
    path = folder / "samples.parquet"
    pl.DataFrame(rows).write_parquet(path)
    name = store_file(path, f"evaluations/{evaluation.pk}/samples.parquet")
    Evaluation.objects.filter(pk=evaluation.pk).update(samples_name=name)
    evaluation.refresh_from_db()
    return evaluation


def opened(actor, evaluation: Evaluation, **options: Any) -> Review:
    """A review of pairs, by the usual seed of the tests."""
    return start_review(
        actor=actor, evaluation=evaluation, **({"seed": 70_000_000_019, "size": 6, "hardest": 0} | options)
    )


def side_of(review: Review, item: ReviewItem, rater: Rater, key: str) -> str:
    """On which side this rater sees the model ``key``."""
    from evaluation_app.queries.reviews import rater_turns

    left = review.keys[1 if rater_turns(review, rater.name)[item.pk] else 0]
    return "left" if left == key else "right"


def prefer(review: Review, rater: Rater, key: str, times: int = 1, **more: Any) -> list[ReviewItem]:
    """This rater votes for the model ``key`` (or ``tie``, ``both_bad``) on the next cases; returns them."""
    judged = []
    for _ in range(times):
        item = review_votes.next_item(rater=rater, review=review).item
        assert item is not None
        choice = key if key in {"tie", "both_bad"} else side_of(review, item, rater, key)
        review_votes.vote(rater=rater, item=item, choice=choice, **more)
        judged.append(item)
    return judged


def rater(project, user) -> Rater:
    """This member as a rater."""
    from accounts_app.permissions import project_for

    return rater_of(project_for(user, project.slug, "review"))
