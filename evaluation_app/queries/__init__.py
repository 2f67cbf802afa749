"""Reads for pages, the API and the apps above."""

from evaluation_app.queries.lists import (
    EvaluationCard,
    evaluation_card,
    evaluations_of,
    latest_evaluation,
    latest_verdict,
    sample_power,
)
from evaluation_app.queries.report import EvaluationView, evaluation_view
from evaluation_app.queries.samples import SampleRow, sample_rows
from evaluation_app.queries.sign_offs import is_signed_off, signed_off_ids

__all__ = [
    "EvaluationCard",
    "EvaluationView",
    "SampleRow",
    "evaluation_card",
    "evaluation_view",
    "evaluations_of",
    "is_signed_off",
    "latest_evaluation",
    "latest_verdict",
    "sample_power",
    "sample_rows",
    "signed_off_ids",
]
