"""Pages about using a model."""

from serving_app.views.detail import deploy, detail, retire, rollback
from serving_app.views.feedback import feedback
from serving_app.views.playground import playground, playground_answer
from serving_app.views.predictions import predictions

__all__ = [
    "deploy",
    "detail",
    "feedback",
    "playground",
    "playground_answer",
    "predictions",
    "retire",
    "rollback",
]
