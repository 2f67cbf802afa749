"""The JSON twin of the page "Must not forget": ``/api/v1/regression-cases``."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from evaluation_app.models import Evaluation, RegressionCase
from evaluation_app.operations.regressions import (
    Added,
    NewCase,
    add_cases,
    add_cases_from_rows,
    remove_case,
    restore_case,
)
from evaluation_app.queries.regressions import CaseLine, Outcome, case_lines, removed_cases
from evaluation_app.queries.rules import cases_of
from web_kit.pagination import paginate

router = Router(tags=["rules"])


class OneCase(Schema):
    """Either ``question`` or ``messages`` (which end before the answer)."""

    question: str = ""
    messages: list[dict[str, Any]] = Field(default_factory=list)
    expected: str
    note: str = ""


class NewCases(Schema):
    """``cases`` to add; or ``rows`` of a finished ``evaluation``, with the answers that its data holds."""

    cases: list[OneCase] = Field(default_factory=list, max_length=2_000)
    evaluation: str | None = None
    rows: list[int] = Field(default_factory=list, max_length=2_000)


def _body(line: CaseLine) -> dict[str, Any]:
    case = line.case
    return {
        "id": case.pk,
        "messages": case.messages,
        "expected": case.expected,
        "note": case.note,
        "origin": case.origin,
        "latest": _outcome(line.latest),
        "first_broken": _outcome(line.first_broken),
        "created_at": case.created_at,
        "removed_at": case.removed_at,
    }


def _outcome(outcome: Outcome | None) -> dict[str, Any] | None:
    return None if outcome is None else vars(outcome)


def _one(actor: Actor, case: RegressionCase) -> dict[str, Any]:
    return _body(case_lines(actor.project, [case])[0])


def _case(request: HttpRequest, case_id: str) -> tuple[Actor, RegressionCase]:
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return actor, fetch(actor, RegressionCase, pk=case_id)


@router.get("/regression-cases", auth=key_auth(Act.VIEW), response=Any, summary="Cases that must not be forgotten")
def listing(request: HttpRequest, removed: bool = False, cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first, each with what the newest model did and which version broke it first."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    rows = removed_cases(actor.project) if removed else cases_of(actor.project)
    page = paginate(rows, order=("-id",), limit=limit, cursor=cursor)
    return {"data": [_body(line) for line in case_lines(actor.project, list(page))], "next_cursor": page.next_cursor}


@router.post("/regression-cases", auth=key_auth(Act.REVIEW), response={201: Any}, summary="Add such cases")
def create(request: HttpRequest, payload: NewCases) -> Any:
    """All or none. ``known`` counts those that the project had already."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    added = _added(actor, payload)
    lines = case_lines(actor.project, added.cases)
    return Status(201, {"data": [_body(line) for line in lines], "known": added.known, "next_cursor": None})


def _added(actor: Actor, payload: NewCases) -> Added:
    if payload.evaluation is not None:
        evaluation = fetch(actor, Evaluation, pk=payload.evaluation)
        return add_cases_from_rows(actor=actor, evaluation=evaluation, rows=payload.rows)
    cases = [
        NewCase(
            messages=case.messages or [{"role": "user", "content": case.question}],
            expected=case.expected,
            note=case.note,
            origin={"kind": "api"},
        )
        for case in payload.cases
    ]
    return add_cases(actor=actor, cases=cases)


@router.get("/regression-cases/{case_id}", auth=key_auth(Act.VIEW), response=Any, summary="One such case")
def detail(request: HttpRequest, case_id: str) -> Any:
    """With what the newest model did, and which version broke it first."""
    return _one(*_case(request, case_id))


@router.delete("/regression-cases/{case_id}", auth=key_auth(Act.REVIEW), response=Any, summary="Remove such a case")
def remove(request: HttpRequest, case_id: str) -> Any:
    """Later models are no longer asked it; ``restore`` takes that back."""
    actor, case = _case(request, case_id)
    return _one(actor, remove_case(actor=actor, case=case))


@router.post("/regression-cases/{case_id}/restore", auth=key_auth(Act.REVIEW), response=Any, summary="Put a case back")
def restore(request: HttpRequest, case_id: str) -> Any:
    """It is asked again."""
    actor, case = _case(request, case_id)
    return _one(actor, restore_case(actor=actor, case=case))
