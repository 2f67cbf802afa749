"""What this app stores."""

from evaluation_app.models.evaluation import Contender, Evaluation
from evaluation_app.models.report import ReportAssumptions, SignOff
from evaluation_app.models.review import Review, ReviewerLink, ReviewItem, ReviewLock, Vote
from evaluation_app.models.rules import AcceptanceRule, RegressionCase

__all__ = [
    "AcceptanceRule",
    "Contender",
    "Evaluation",
    "RegressionCase",
    "ReportAssumptions",
    "Review",
    "ReviewItem",
    "ReviewLock",
    "ReviewerLink",
    "SignOff",
    "Vote",
]
