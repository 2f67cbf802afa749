"""The forms of this app."""

from evaluation_app.forms.evaluation import EvaluationForm

__all__ = ["EvaluationForm"]
