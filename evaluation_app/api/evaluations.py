"""The JSON twin of the pages: ``/api/v1/evaluations``."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from ninja import Router, Status

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from datasets_app.models import Snapshot
from datasets_app.streaming import attachment
from evaluation_app.api.wishes import NewEvaluation, RepeatEvaluation, named_models
from evaluation_app.choices import LOWER_IS_BETTER
from evaluation_app.models import Contender, Evaluation
from evaluation_app.operations import repeat_evaluation, start_evaluation
from evaluation_app.queries import evaluations_of, sample_rows
from evaluation_app.queries.contenders import contenders_of
from evaluation_app.queries.sample_filter import filter_of
from evaluation_app.views.samples import csv_lines, read_cursor
from web_kit.pagination import paginate
from work_kit.queries import job_card

router = Router(tags=["evaluations"])

SCORE = ("value", "ci_low", "ci_high", "n", "higher_is_better", "signature")
MOST_SAMPLES = 500


def _body(evaluation: Evaluation, *, whole: bool = False) -> dict[str, Any]:
    job = job_card(evaluation.work)
    body: dict[str, Any] = {
        "id": evaluation.pk,
        "status": job.state,
        "model": evaluation.trained_model.api_name,
        "trained_model": evaluation.trained_model_id,
        "models": [_model(contender) for contender in contenders_of(evaluation)],
        "snapshot": evaluation.snapshot_id,
        "split": evaluation.split,
        "suites": evaluation.suites,
        "limit": evaluation.case_limit,
        "repeated_from": evaluation.repeated_from_id,
        "progress": {
            "phase": job.phase,
            "done": job.done,
            "total": job.total,
            "unit": job.unit,
            "percent": job.percent,
        },
        "headline": _headline(evaluation),
        "overall_score": evaluation.overall_score,
        "verdict": {"kind": evaluation.verdict, "sentence": evaluation.verdict_sentence}
        if evaluation.verdict
        else None,
        "error": {"reason": job.failure_sentence, **job.failure} if job.state == "failed" else None,
        "created_at": evaluation.created_at,
    }
    if whole:
        body["settings"] = {name: value for name, value in evaluation.settings.items() if name != "addresses"}
        body["scores"] = _scores(evaluation)
        body["report"] = evaluation.report or None
    return body


def _model(contender: Contender) -> dict[str, Any]:
    return {
        "key": contender.key,
        "name": contender.name,
        "kind": contender.kind,
        "trained_model": contender.trained_model_id,
        "base_model": contender.base_model_key or None,
        "connection": contender.connection_id,
        "model": contender.remote_name or None,
        "prompt": contender.prompt or None,
        "is_subject": contender.is_subject,
        "is_reference": contender.is_reference,
    }


def _headline(evaluation: Evaluation) -> dict[str, Any] | None:
    """The deciding figure; None until there is one."""
    if not evaluation.headline or evaluation.headline_value is None:
        return None
    return {
        "metric": evaluation.headline,
        "value": evaluation.headline_value,
        "ci_low": evaluation.headline_low,
        "ci_high": evaluation.headline_high,
        "n": evaluation.cases,
        "higher_is_better": evaluation.headline not in LOWER_IS_BETTER,
    }


def _scores(evaluation: Evaluation) -> dict[str, dict[str, dict[str, Any]]]:
    """``{model key: {metric: score}}``, cheap baselines included."""
    report = evaluation.report or {}
    entries = [*(report.get("models") or ()), *(report.get("baselines") or ())]
    return {
        entry["key"]: {
            score["metric"]: {part: score.get(part) for part in SCORE} for score in entry.get("scores") or ()
        }
        for entry in entries
    }


def _evaluation(request: HttpRequest, evaluation_id: str) -> Evaluation:
    actor: Actor = request.auth  # type: ignore[attr-defined]
    rows = Evaluation.objects.select_related("work", "trained_model", "snapshot__dataset")
    return fetch(actor, rows.prefetch_related("contenders"), pk=evaluation_id)


@router.post("/evaluations", auth=key_auth(Act.TRAIN), response={202: Any}, summary="Start an evaluation")
def create(request: HttpRequest, payload: NewEvaluation) -> Any:
    """Compare a trained model with its base model, other models and cheap baselines, on rows that it has not learnt."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    snapshot = fetch(actor, Snapshot, pk=payload.snapshot) if payload.snapshot else None
    subject, others = named_models(actor, payload)
    evaluation = start_evaluation(
        actor=actor,
        trained_model=subject,
        others=others,
        snapshot=snapshot,
        split=payload.split,
        limit=payload.limit,
        suites=payload.suites,
        settings=payload.settings(),
        idempotency_key=request.headers.get("Idempotency-Key"),
        cost_approved=payload.cost_approved,
    )
    return Status(202, _body(evaluation))


@router.post(
    "/evaluations/{evaluation_id}/repeat", auth=key_auth(Act.TRAIN), response={202: Any}, summary="Run one again"
)
def repeat(request: HttpRequest, evaluation_id: str, payload: RepeatEvaluation) -> Any:
    """The same models and settings, on the newest snapshot of the same data or the one named."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    again = repeat_evaluation(
        actor=actor,
        evaluation=_evaluation(request, evaluation_id),
        snapshot=fetch(actor, Snapshot, pk=payload.snapshot) if payload.snapshot else None,
        idempotency_key=request.headers.get("Idempotency-Key"),
        cost_approved=payload.cost_approved,
    )
    return Status(202, _body(again))


@router.get("/evaluations", auth=key_auth(Act.VIEW), response=Any, summary="List evaluations")
def listing(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    rows = evaluations_of(actor.project).prefetch_related("contenders")
    page = paginate(rows, order=("-id",), limit=limit, cursor=cursor)
    return {"data": [_body(evaluation) for evaluation in page], "next_cursor": page.next_cursor}


@router.get("/evaluations/{evaluation_id}", auth=key_auth(Act.VIEW), response=Any, summary="One evaluation")
def detail(request: HttpRequest, evaluation_id: str) -> Any:
    """Its state and, when it is done, every score and the whole report."""
    return _body(_evaluation(request, evaluation_id), whole=True)


@router.get("/evaluations/{evaluation_id}/samples", auth=key_auth(Act.VIEW), response=Any, summary="Single answers")
def samples(
    request: HttpRequest,
    evaluation_id: str,
    cursor: str | None = None,
    limit: int = 50,
    outcome: str = "",
    model: str = "",
    column: str = "",
    value: str = "",
    rule: str = "",
    q: str = "",
    tuned: str = "",
) -> Any:
    """Every case with all answers, by row. ``outcome`` is ``right``, ``wrong``, ``improved`` or ``worsened`` and is about
    ``model`` (a key; by default the one under judgement); ``column`` and ``value`` keep rows of one metadata value,
    ``rule`` those whose answer fails an acceptance rule, ``q`` those that hold a text. ``tuned`` is an older ``outcome``."""
    told = {"outcome": outcome or tuned, "model": model, "column": column, "value": value, "rule": rule, "q": q}
    evaluation = _evaluation(request, evaluation_id)
    size = min(MOST_SAMPLES, max(1, limit))
    rows, following = sample_rows(evaluation, read_cursor(cursor), size, chosen=filter_of(told))
    return {"data": [row.as_dict() for row in rows], "next_cursor": str(following) if following is not None else None}


@router.get(
    "/evaluations/{evaluation_id}/samples.csv",
    auth=key_auth(Act.VIEW),
    summary="Single answers as a table",
    response=Any,
)
def samples_csv(request: HttpRequest, evaluation_id: str) -> HttpResponseBase:
    """All cases; the parameters of ``/samples`` filter them here as well."""
    evaluation = _evaluation(request, evaluation_id)
    lines = csv_lines(evaluation, filter_of(request.GET.dict()))
    return attachment(request, lines, name=f"answers-{evaluation.pk}.csv", content_type="text/csv; charset=utf-8")
