"""The JSON twin of the pages: ``/api/v1/evaluations``, ``/api/v1/reviews`` and what belongs to them."""

from evaluation_app.api.evaluations import router

__all__ = ["router"]
