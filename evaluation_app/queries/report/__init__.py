"""A report, read into the words, tables and plots that its page and its files show.

``whole`` gathers everything (import ``whole_report`` from there: it looks at reviews and signatures, which look at this).
"""

from evaluation_app.queries.report.view import EvaluationView, evaluation_view
from evaluation_app.queries.report.words import chance_words, difference_words, value_words

__all__ = ["EvaluationView", "chance_words", "difference_words", "evaluation_view", "value_words"]
