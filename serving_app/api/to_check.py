"""The answers that wait for a person."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Router, Schema

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from serving_app.models import Prediction
from serving_app.operations.escalations import confirm_answer, correct_answer, reopen_answer
from serving_app.queries.escalations import to_check_of
from web_kit.pagination import paginate

router = Router(tags=["serving"])


class Check(Schema):
    """``action`` is ``right`` (as it is), ``correct`` (it should have been ``correction``) or ``undo`` (only with the key
    that decided)."""

    action: Literal["right", "correct", "undo"]
    correction: str = ""
    comment: str = ""


def _body(prediction: Prediction) -> dict[str, Any]:
    names = ("input", "output", "confidence", "at", "needs_human", "handled_at", "verdict", "correction")
    return {
        "id": prediction.request_id,
        "model": prediction.model_name,
        "calibrated_confidence": prediction.calibrated,
        **{name: getattr(prediction, name) for name in names},
    }


@router.get("/predictions/to-check", auth=key_auth(Act.VIEW), response=Any, summary="Answers that wait for a person")
def waiting(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> Any:
    """Oldest first; those that nobody has handled."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    page = paginate(to_check_of(actor.project), order=("id",), limit=limit, cursor=cursor)
    return {"data": [_body(prediction) for prediction in page], "next_cursor": page.next_cursor}


@router.post(
    "/predictions/{request_id}/check",
    auth=key_auth(Act.REVIEW),
    response=Any,
    summary="Decide on an answer that waits",
)
def check(request: HttpRequest, request_id: str, payload: Check) -> Any:
    """409 when somebody was first."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    prediction = fetch(actor, Prediction, request_id=request_id)
    if payload.action == "right":
        confirm_answer(actor=actor, prediction=prediction)
    elif payload.action == "correct":
        correct_answer(actor=actor, prediction=prediction, correction=payload.correction, comment=payload.comment)
    else:
        reopen_answer(actor=actor, prediction=prediction)
    prediction.refresh_from_db()
    return _body(prediction)
