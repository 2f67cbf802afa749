"""The prediction log."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router, Schema

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from serving_app.log_files import log_download, prediction_body
from serving_app.models import LogPolicy, Prediction
from serving_app.operations.log_policy import set_log_policy
from serving_app.queries.predictions import LogFilters, log_policy, predictions_matching
from web_kit.pagination import paginate

router = Router(tags=["serving"])


class LogQuery(Schema):
    """``q``: a text or a request id. ``verdict``: good, bad or none. ``status``: ok, refused, failed, left or a number.
    ``cached``: yes, no, exact or semantic. ``human``: yes, no or waiting. ``below``: a confidence 0..1.
    ``since``, ``until``: days or moments."""

    q: str = ""
    model: str = ""
    verdict: str = ""
    status: str = ""
    cached: str = ""
    human: str = ""
    below: str = ""
    door: str = ""
    key: str = ""
    since: str = ""
    until: str = ""


class LogPolicyChange(Schema):
    """``keep_days`` null keeps answers for ever."""

    keep_days: int | None
    masks_personal_data: bool
    keeps_texts: bool


def _policy_body(policy: LogPolicy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in ("keep_days", "masks_personal_data", "keeps_texts")}


@router.get("/predictions", auth=key_auth(Act.VIEW), response=Any, summary="The prediction log")
def predictions(request: HttpRequest, wanted: Query[LogQuery], cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first. A search for a text looks through the newest 200,000 answers that the other filters leave."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    rows = predictions_matching(actor.project, LogFilters.of(wanted.dict()))
    page = paginate(rows, order=("-id",), limit=limit, cursor=cursor)
    return {"data": [prediction_body(prediction) for prediction in page], "next_cursor": page.next_cursor}


@router.get("/predictions/export", auth=key_auth(Act.VIEW), response=Any, summary="The prediction log as a file")
def export(request: HttpRequest, wanted: Query[LogQuery], form: str = "jsonl") -> Any:
    """``form`` is jsonl or csv; the filters are those of the list."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return log_download(request, actor, form, LogFilters.of(wanted.dict()))


@router.get("/predictions/policy", auth=key_auth(Act.OWN), response=Any, summary="What the log keeps")
def policy(request: HttpRequest) -> Any:
    """For how long, and whether texts and personal data are written down."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return _policy_body(log_policy(actor.project))


@router.put("/predictions/policy", auth=key_auth(Act.OWN), response=Any, summary="Decide what the log keeps")
def change_policy(request: HttpRequest, payload: LogPolicyChange) -> Any:
    """Holds for what is asked from now on; older answers go when they are older than ``keep_days``."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return _policy_body(set_log_policy(actor=actor, **payload.dict()))


@router.get("/predictions/{request_id}", auth=key_auth(Act.VIEW), response=Any, summary="One answer")
def prediction(request: HttpRequest, request_id: str) -> Any:
    """With the question, and all that is known of both."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return prediction_body(fetch(actor, Prediction, request_id=request_id))
