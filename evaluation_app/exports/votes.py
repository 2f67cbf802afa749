"""The votes of a closed review as a table and as JSON. Before it is closed they are nobody's."""

from __future__ import annotations

import csv
import io
from typing import Any

from django.utils.translation import gettext as _

from datasets_app.exports.cells import guarded
from evaluation_app.choices import ReviewState
from evaluation_app.models import Review, Vote
from evaluation_app.queries.review_results import review_results, winner
from evaluation_app.queries.reviews import rater_name
from finetune_engine.errors import UserError

_COLUMNS = (
    "case", "row", "bucket", "stratum", "rater", "choice", "left_model", "right_model", "preferred", "correction",
    "comment", "lead_seconds", "at",
)  # fmt: skip


def votes_csv(review: Review) -> str:
    """One line for each vote. Cells that a spreadsheet would take for a formula are preceded by an apostrophe. Raises
    UserError (409) while the review is open."""
    _check_closed(review)
    questions = [question["name"] for question in review.rubric]
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow([*_COLUMNS, *(f"mark_{name}" for name in questions), "decision"])
    for vote in _votes(review):
        told = _told(review, vote)
        cells = [told[name] for name in _COLUMNS] + [told["marks"].get(name) for name in questions]
        table.writerow([guarded(cell) if isinstance(cell, str) else cell for cell in [*cells, vote.item.decision]])
    return out.getvalue()


def review_json(review: Review) -> dict[str, Any]:
    """The results with every case and vote. Raises UserError (409) while the review is open."""
    _check_closed(review)
    items = [
        {
            "case": item.number,
            "row": item.row,
            "bucket": item.bucket,
            "stratum": item.stratum,
            "messages": item.messages,
            "reference": item.reference,
            "answers": item.answers,
            "decision": item.decision or None,
            "decision_note": item.decision_note,
        }
        for item in review.items.all()
    ]
    return {
        "review": review.pk,
        "evaluation": review.evaluation_id,
        "drawing": review.drawing | {"seed": review.seed},
        "rubric": review.rubric,
        "results": review_results(review).as_dict(),
        "items": items,
        "votes": [_told(review, vote) for vote in _votes(review)],
    }


def _check_closed(review: Review) -> None:
    if review.state != ReviewState.CLOSED:
        sentence = _("The votes are hidden until the review is closed.")
        raise UserError("review_open", sentence, status=409)


def _votes(review: Review) -> list[Vote]:
    votes = Vote.objects.filter(item__review=review).select_related("item", "user", "link", "api_key")
    return list(votes.order_by("item__number", "pk"))


def _told(review: Review, vote: Vote) -> dict[str, Any]:
    right = next((key for key in review.keys if key != vote.left_key), "") if vote.left_key else ""
    return {
        "case": vote.item.number,
        "row": vote.item.row,
        "bucket": vote.item.bucket,
        "stratum": vote.item.stratum,
        "rater": rater_name(vote),
        "choice": vote.choice,
        "left_model": vote.left_key,
        "right_model": right,
        "preferred": winner(review.keys, vote.choice, vote.left_key) if vote.choice else "",
        "marks": vote.marks,
        "correction": vote.correction,
        "comment": vote.comment,
        "lead_seconds": vote.lead_seconds,
        "at": vote.at.isoformat(),
    }
