"""The JSON twin of the pages: ``/api/v1/evaluations``."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import Router, Schema, Status
from pydantic import Field

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from datasets_app.models import Snapshot
from evaluation_app.choices import Split
from evaluation_app.models import Evaluation
from evaluation_app.operations import start_evaluation
from evaluation_app.queries import evaluations_of, sample_rows
from evaluation_app.views.detail import read_cursor
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from web_kit.pagination import paginate
from work_kit.queries import job_card

router = Router(tags=["evaluations"])


class NewEvaluation(Schema):
    """``models`` names trained models (API name or id); they are compared with their base models. ``trained_model``
    is a shorter way to name one. Without ``snapshot`` each is judged on the one it was trained from."""

    models: list[str] = Field(default_factory=list)
    trained_model: str | None = None
    snapshot: str | None = None
    split: str = Split.TEST
    limit: int | None = None
    suites: list[str] | None = None


def _body(evaluation: Evaluation, *, whole: bool = False) -> dict[str, Any]:
    job = job_card(evaluation.work)
    body: dict[str, Any] = {
        "id": evaluation.pk,
        "status": job.state,
        "model": evaluation.trained_model.api_name,
        "trained_model": evaluation.trained_model_id,
        "snapshot": evaluation.snapshot_id,
        "split": evaluation.split,
        "suites": evaluation.suites,
        "limit": evaluation.case_limit,
        "progress": {
            "phase": job.phase,
            "done": job.done,
            "total": job.total,
            "unit": job.unit,
            "percent": job.percent,
        },
        "verdict": {"kind": evaluation.verdict, "sentence": evaluation.verdict_sentence}
        if evaluation.verdict
        else None,
        "error": {"reason": job.failure_sentence, **job.failure} if job.state == "failed" else None,
        "created_at": evaluation.created_at,
    }
    if whole:
        body["report"] = evaluation.report or None
    return body


def _evaluation(request: HttpRequest, evaluation_id: str) -> Evaluation:
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return fetch(actor, Evaluation.objects.select_related("work", "trained_model"), pk=evaluation_id)


def _named_model(actor: Actor, payload: NewEvaluation) -> TrainedModel:
    names = [*payload.models, *([payload.trained_model] if payload.trained_model else [])]
    mine = TrainedModel.objects.filter(project=actor.project)
    found = {name: mine.filter(api_name=name).first() or mine.filter(pk=name).first() for name in names}
    trained = {model for model in found.values() if model is not None}
    bases = {model.base_model_key for model in trained}  # naming the base as well is harmless
    for name, model in found.items():
        if model is None and name not in bases:
            sentence = f"There is no trained model {name!r} in this project."
            raise UserError("model_not_found", sentence, "models", status=404)
    if len(trained) != 1:
        raise UserError(
            "one_model",
            "Name exactly one trained model in 'models'; it is compared with its base model. "
            "To compare several, start one evaluation for each with the same 'snapshot'.",
            field="models",
        )
    return trained.pop()


@router.post("/evaluations", auth=key_auth(Act.TRAIN), response={202: Any}, summary="Start an evaluation")
def create(request: HttpRequest, payload: NewEvaluation) -> Any:
    """Compare a trained model with its base model and with cheap baselines, on rows that it has not learnt."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    snapshot = fetch(actor, Snapshot, pk=payload.snapshot) if payload.snapshot else None
    evaluation = start_evaluation(
        actor=actor,
        trained_model=_named_model(actor, payload),
        snapshot=snapshot,
        split=payload.split,
        limit=payload.limit,
        suites=payload.suites,
        idempotency_key=request.headers.get("Idempotency-Key"),
    )
    return Status(202, _body(evaluation))


@router.get("/evaluations", auth=key_auth(Act.VIEW), response=Any, summary="List evaluations")
def listing(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    page = paginate(evaluations_of(actor.project), order=("-id",), limit=limit, cursor=cursor)
    return {"data": [_body(evaluation) for evaluation in page], "next_cursor": page.next_cursor}


@router.get("/evaluations/{evaluation_id}", auth=key_auth(Act.VIEW), response=Any, summary="One evaluation")
def detail(request: HttpRequest, evaluation_id: str) -> Any:
    """Its state and, when it is done, the whole report."""
    return _body(_evaluation(request, evaluation_id), whole=True)


@router.get("/evaluations/{evaluation_id}/samples", auth=key_auth(Act.VIEW), response=Any, summary="Single answers")
def samples(
    request: HttpRequest, evaluation_id: str, cursor: str | None = None, limit: int = 50, tuned: str = ""
) -> Any:
    """Every case with both answers, by row. ``tuned`` is ``right`` or ``wrong`` to see only those."""
    rows, following = sample_rows(
        _evaluation(request, evaluation_id), read_cursor(cursor), min(500, max(1, limit)), tuned=tuned
    )
    return {"data": [vars(row) for row in rows], "next_cursor": str(following) if following is not None else None}


@router.get("/evaluations/{evaluation_id}/report.json", auth=key_auth(Act.VIEW), response=Any, summary="The report")
def report(request: HttpRequest, evaluation_id: str) -> HttpResponse:
    """The report alone, as the engine wrote it."""
    evaluation = _evaluation(request, evaluation_id)
    if not evaluation.report:
        raise UserError(
            "no_report", "This evaluation has no report yet. Wait until its status is 'succeeded'.", status=409
        )
    return JsonResponse(evaluation.report, json_dumps_params={"ensure_ascii": False})
