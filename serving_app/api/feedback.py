"""What people think of answers, and the way from there to data and cases."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from datasets_app.models import Dataset
from finetune_engine.errors import UserError
from serving_app.models import Feedback
from serving_app.operations import give_feedback
from serving_app.operations.feedback import set_feedback_aside, take_feedback_back
from serving_app.operations.proposals import (
    MOST_AT_ONCE,
    drop_case_of,
    keep_as_cases,
    propose_corrections,
    withdraw_proposal,
)
from serving_app.queries.feedback import answer_of, feedback_of, said_by
from web_kit.pagination import paginate

router = Router(tags=["serving"])


class NewFeedback(Schema):
    """``verdict`` is good or bad; ``reasons`` some of wrong, made_up, incomplete, outdated, format, tone, unsafe, other;
    ``correction`` what the answer should have been."""

    verdict: str
    reasons: list[str] = Field(default_factory=list, max_length=20)
    comment: str = ""
    correction: str = ""


class Chosen(Schema):
    """Ids of feedback. ``dataset`` is where corrections go; without it, to the data that the answering model learned from."""

    feedback: list[str] = Field(min_length=1, max_length=MOST_AT_ONCE)
    dataset: str | None = None


def feedback_body(feedback: Feedback) -> dict[str, Any]:
    """One piece of feedback as the API tells it."""
    names = ("messages", "answer", "verdict", "reasons", "comment", "correction", "at", "proposed_at", "dismissed_at")
    return {
        "id": feedback.pk,
        "request_id": feedback.request_id,
        "model": feedback.model_name,
        "deployment": feedback.deployment_id,
        "by": said_by(feedback),
        "dataset": feedback.dataset_id,
        "regression_case": feedback.regression_case_id,
        **{name: getattr(feedback, name) for name in names},
    }


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return actor


def _one(actor: Actor, feedback_id: str) -> Feedback:
    return fetch(actor, feedback_of(actor.project), pk=feedback_id)


def _chosen(actor: Actor, ids: list[str]) -> list[Feedback]:
    found = list(feedback_of(actor.project).filter(pk__in=ids))
    missing = set(ids) - {one.pk for one in found}
    if missing:
        raise UserError("not_found", f"There is no feedback {min(missing)!r}.", field="feedback", status=404)
    return found


@router.post(
    "/predictions/{request_id}/feedback",
    auth=key_auth(Act.PREDICT),
    response=Any,
    summary="Say what you think of an answer",
)
def give(request: HttpRequest, request_id: str, payload: NewFeedback) -> Any:
    """``request_id`` is the one that ``/predict`` returned, or the header ``X-Request-Id`` of the OpenAI calls. It works at once:
    the log writes an answer down within a second, and this waits for it. The newest verdict counts."""
    actor = _actor(request)
    prediction = answer_of(actor, request_id)
    return feedback_body(give_feedback(actor=actor, prediction=prediction, **payload.dict()))


@router.delete(
    "/predictions/{request_id}/feedback",
    auth=key_auth(Act.PREDICT),
    response={204: None},
    summary="Take a verdict back",
)
def take_back(request: HttpRequest, request_id: str) -> Any:
    """409 when it led to a row of the data or a case: withdraw that first."""
    actor = _actor(request)
    take_feedback_back(actor=actor, feedback=fetch(actor, feedback_of(actor.project), request_id=request_id))
    return Status(204, None)


@router.get("/feedback", auth=key_auth(Act.VIEW), response=Any, summary="What people said of answers")
def listing(request: HttpRequest, verdict: str = "", cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first; ``verdict`` narrows to good or bad."""
    rows = feedback_of(_actor(request).project)
    page = paginate(rows.filter(verdict=verdict) if verdict else rows, order=("-id",), limit=limit, cursor=cursor)
    return {"data": [feedback_body(one) for one in page], "next_cursor": page.next_cursor}


@router.post(
    "/feedback/proposals", auth=key_auth(Act.TRAIN), response={201: Any}, summary="Propose corrections as rows"
)
def propose(request: HttpRequest, payload: Chosen) -> Any:
    """Each correction waits in the review queue of its dataset, with the whole conversation. ``known`` were rows already."""
    actor = _actor(request)
    dataset = fetch(actor, Dataset, pk=payload.dataset) if payload.dataset else None
    done = propose_corrections(actor=actor, feedback=_chosen(actor, payload.feedback), dataset=dataset)
    return Status(201, {"added": done.added, "known": done.known, "datasets": [entry.pk for entry in done.datasets]})


@router.post(
    "/feedback/regression-cases", auth=key_auth(Act.REVIEW), response={201: Any}, summary="Keep complaints as cases"
)
def keep(request: HttpRequest, payload: Chosen) -> Any:
    """No later model may get them wrong; every evaluation asks them."""
    actor = _actor(request)
    added = keep_as_cases(actor=actor, feedback=_chosen(actor, payload.feedback))
    return Status(201, {"added": added, "known": len(payload.feedback) - added})


@router.get("/feedback/{feedback_id}", auth=key_auth(Act.VIEW), response=Any, summary="One piece of feedback")
def detail(request: HttpRequest, feedback_id: str) -> Any:
    """With the question and the answer that it is about."""
    return feedback_body(_one(_actor(request), feedback_id))


@router.delete(
    "/feedback/{feedback_id}/proposal", auth=key_auth(Act.TRAIN), response=Any, summary="Withdraw a proposed row"
)
def withdraw(request: HttpRequest, feedback_id: str) -> Any:
    """Takes the rows that were proposed in the same act out of the data; ``freed`` says how many."""
    actor = _actor(request)
    return {"freed": withdraw_proposal(actor=actor, feedback=_one(actor, feedback_id))}


@router.delete(
    "/feedback/{feedback_id}/regression-case", auth=key_auth(Act.REVIEW), response=Any, summary="Drop its case"
)
def drop(request: HttpRequest, feedback_id: str) -> Any:
    """Later models are no longer asked it."""
    actor = _actor(request)
    drop_case_of(actor=actor, feedback=_one(actor, feedback_id))
    return feedback_body(_one(actor, feedback_id))


@router.post("/feedback/{feedback_id}/set-aside", auth=key_auth(Act.REVIEW), response=Any, summary="Set aside")
def set_aside(request: HttpRequest, feedback_id: str) -> Any:
    """It no longer waits to be improved; the verdict stays."""
    actor = _actor(request)
    set_feedback_aside(actor=actor, feedback=[_one(actor, feedback_id)])
    return feedback_body(_one(actor, feedback_id))


@router.post("/feedback/{feedback_id}/put-back", auth=key_auth(Act.REVIEW), response=Any, summary="Put back")
def put_back(request: HttpRequest, feedback_id: str) -> Any:
    """Undo of setting aside."""
    actor = _actor(request)
    set_feedback_aside(actor=actor, feedback=[_one(actor, feedback_id)], aside=False)
    return feedback_body(_one(actor, feedback_id))
