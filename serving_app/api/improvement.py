"""Where complaints stand, as the page Improve."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor
from serving_app.queries.feedback_figures import Change, ChangedCase, feedback_figures, newest_change
from serving_app.queries.improvement import Line, improvement
from serving_app.queries.next_step import next_step

router = Router(tags=["serving"])


def _line_body(line: Line) -> dict[str, Any]:
    outcome = line.outcome
    return {
        "feedback": line.feedback.pk,
        "request_id": line.feedback.request_id,
        "question": line.question,
        "answer": line.feedback.answer,
        "correction": line.feedback.correction,
        "stage": line.stage,
        "dataset": line.dataset.pk if line.dataset else None,
        "row": line.row,
        "row_status": line.row_status or None,
        "snapshot": line.frozen.number if line.frozen else None,
        "split": line.split or None,
        "model": line.model.api_name if line.model else None,
        "learned": line.is_learned,
        "latest": vars(outcome) if outcome else None,
        "in_use": line.is_in_use,
    }


def _changed(entry: ChangedCase) -> dict[str, Any]:
    return {"case": entry.case.pk, "question": entry.question, "answer": entry.outcome.answer}


def _change_body(change: Change) -> dict[str, Any]:
    return {
        "model": change.newest or None,
        "before": change.before,
        "compared": change.compared,
        "n_fixed": change.n_fixed,
        "n_broke": change.n_broke,
        "fixed": [_changed(entry) for entry in change.fixed],
        "broke": [_changed(entry) for entry in change.broke],
    }


@router.get("/improvement", auth=key_auth(Act.VIEW), response=Any, summary="Where complaints stand")
def improvement_of(request: HttpRequest) -> Any:
    """The newest hundred complaints, each with its stage: said, corrected, proposed, left_out, accepted, frozen, trained,
    still_wrong, passed, in_use. ``older`` counts those beyond."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    found, figures = improvement(actor.project), feedback_figures(actor.project)
    step = next_step(actor, found)
    return {
        "data": [_line_body(line) for line in found.lines],
        "next_cursor": None,
        "older": found.older,
        "stages": dict(found.counts),
        "next_step": {"stage": step.stage or None, "sentence": step.sentence},
        "reasons": [{"reason": name or None, "count": count} for name, _label, count in figures.reasons],
        "weeks": [vars(week) for week in figures.weeks],
        "versions": [
            {name: getattr(rate, name) for name in ("model_name", "good", "bad", "share", "low", "high")}
            for rate in figures.versions
        ],
        "newest_version": _change_body(newest_change(actor.project)),
    }
