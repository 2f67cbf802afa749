"""Our errors with OpenAI's status codes and parameter names."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from finetune_engine.errors import UserError

PARAMS = {
    "base_model": "model",
    "base_model_key": "model",
    "parent_model": "model",
    "snapshot": "training_file",
    "dataset": "training_file",
}


def openai_errors(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A mistake in a request is a 400 here (elsewhere 422); so is a move that the job's state forbids, because the
    SDK repeats calls answered 409."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except UserError as error:
            error.status = 400 if error.status in (409, 422) else error.status
            error.field = PARAMS.get(error.field or "", error.field)
            raise

    return answered
