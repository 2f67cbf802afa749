"""The JSON twin of what surrounds a report: its files, its assumptions, signatures."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Body, Router, Schema, Status

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from evaluation_app.exports.files import report_file
from evaluation_app.exports.json_report import sign_off_json
from evaluation_app.models import Evaluation, SignOff
from evaluation_app.operations.report import keep_assumptions
from evaluation_app.operations.sign_off import sign_off_model, withdraw_sign_off
from evaluation_app.queries.report.worth import assumptions_for
from evaluation_app.queries.sign_offs import sign_off_card, sign_offs_of
from evaluation_app.views.report import whole_evaluation
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from web_kit.pagination import paginate

router = Router(tags=["evaluations"])


class NewSignOff(Schema):
    """``model`` is a trained model's API name or id; ``evaluation`` (its id) what the owner rests on. Where something
    speaks against the model, ``statement`` must give the reason."""

    model: str
    evaluation: str | None = None
    statement: str = ""


class Withdrawal(Schema):
    """``reason`` is kept in the records."""

    reason: str = ""


def _actor(request: HttpRequest) -> Actor:
    return request.auth  # type: ignore[attr-defined,no-any-return]


def _file(request: HttpRequest, evaluation_id: str, kind: str) -> HttpResponse:
    return report_file(whole_evaluation(_actor(request), evaluation_id), kind)


@router.get("/evaluations/{evaluation_id}/report.json", auth=key_auth(Act.VIEW), response=Any, summary="The report")
def report_json(request: HttpRequest, evaluation_id: str) -> HttpResponse:
    """What the engine wrote, with ``kpis``, ``human``, ``sign_off`` and ``lineage`` beside it."""
    return _file(request, evaluation_id, "json")


@router.get("/evaluations/{evaluation_id}/report.csv", auth=key_auth(Act.VIEW), response=Any, summary="As a table")
def report_csv(request: HttpRequest, evaluation_id: str) -> HttpResponse:
    """Every figure on a line of its own."""
    return _file(request, evaluation_id, "csv")


@router.get("/evaluations/{evaluation_id}/report.html", auth=key_auth(Act.VIEW), response=Any, summary="As a page")
def report_html(request: HttpRequest, evaluation_id: str) -> HttpResponse:
    """A page to print that needs nothing else."""
    return _file(request, evaluation_id, "html")


@router.get("/evaluations/{evaluation_id}/report.pdf", auth=key_auth(Act.VIEW), response=Any, summary="As a PDF")
def report_pdf(request: HttpRequest, evaluation_id: str) -> HttpResponse:
    """The same on paper."""
    return _file(request, evaluation_id, "pdf")


@router.get("/evaluations/{evaluation_id}/model-card.md", auth=key_auth(Act.VIEW), response=Any, summary="Model card")
def card(request: HttpRequest, evaluation_id: str) -> HttpResponse:
    """Markdown: use, data, training, evaluation, limits, signature."""
    return _file(request, evaluation_id, "md")


@router.get("/report-assumptions", auth=key_auth(Act.VIEW), response=Any, summary="What the work costs today")
def assumptions(request: HttpRequest) -> Any:
    """What the KPI and ROI figures of this project's reports rest on; null where nobody has said."""
    return assumptions_for(_actor(request).project).as_dict()


@router.put("/report-assumptions", auth=key_auth(Act.TRAIN), response=Any, summary="Change the assumptions")
def put_assumptions(request: HttpRequest, payload: Body[dict[str, Any]]) -> Any:
    """The whole list: what is not named has its default. A spread is a number or ``{low, expected, high}``."""
    return keep_assumptions(actor=_actor(request), values=payload).as_dict()


@router.post("/sign-offs", auth=key_auth(Act.OWN), response={201: Any}, summary="Sign for a model")
def sign(request: HttpRequest, payload: NewSignOff) -> Any:
    """An owner stands for using this model. Without a signature it cannot be put into use."""
    actor = _actor(request)
    mine = TrainedModel.objects.filter(project=actor.project)
    model = mine.filter(api_name=payload.model).first() or mine.filter(pk=payload.model).first()
    if model is None:
        sentence = f"There is no trained model {payload.model!r} in this project."
        raise UserError("model_not_found", sentence, "model", status=404)
    evaluation = fetch(actor, Evaluation, pk=payload.evaluation) if payload.evaluation else None
    signed = sign_off_model(actor=actor, trained_model=model, evaluation=evaluation, statement=payload.statement)
    return Status(201, _body(signed))


@router.get("/sign-offs", auth=key_auth(Act.VIEW), response=Any, summary="List signatures")
def sign_offs(request: HttpRequest, model: str = "", cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first, withdrawn ones included; ``model`` (API name or id) keeps those of one model."""
    rows = sign_offs_of(_actor(request).project)
    if model:
        rows = rows.filter(trained_model__api_name=model) | rows.filter(trained_model_id=model)
    page = paginate(rows, order=("-id",), limit=limit, cursor=cursor)
    return {"data": [_body(row) for row in page], "next_cursor": page.next_cursor}


@router.post("/sign-offs/{sign_off_id}/withdraw", auth=key_auth(Act.OWN), response=Any, summary="Withdraw a signature")
def withdraw(request: HttpRequest, sign_off_id: int, payload: Withdrawal) -> Any:
    """It stays on record. A model in use goes on answering until it is taken out of use."""
    actor = _actor(request)
    row = fetch(actor, SignOff.objects.select_related("trained_model"), pk=sign_off_id)
    return _body(withdraw_sign_off(actor=actor, sign_off=row, reason=payload.reason))


def _body(row: SignOff) -> dict[str, Any]:
    return {"model": row.trained_model.api_name} | sign_off_json(sign_off_card(row))
