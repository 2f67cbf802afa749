"""One evaluation: live while it runs, the verdict when it is done."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from evaluation_app.choices import SAMPLES_PER_PAGE
from evaluation_app.models import Evaluation
from evaluation_app.queries import EvaluationView, evaluation_view, sample_rows
from finetune_engine.errors import UserError
from web_kit.live_job import LiveJob, LogLine
from work_kit.operations import request_stop
from work_kit.queries import log_lines
from work_kit.views import job_events


def _evaluation(actor: Actor, evaluation_id: str) -> Evaluation:
    rows = Evaluation.objects.select_related("work", "trained_model", "snapshot", "snapshot__dataset")
    return fetch(actor, rows, pk=evaluation_id)


@project_page({"GET": Act.VIEW})
def detail(request: HttpRequest, actor: Actor, evaluation_id: str) -> HttpResponse:
    """The verdict and everything behind it; before that, the live job."""
    evaluation = _evaluation(actor, evaluation_id)
    view = evaluation_view(evaluation)
    context = {
        "project": actor.project,
        "evaluation": evaluation,
        "view": view,
        "live": None if view.card.job.is_terminal else _live(actor, evaluation, view),
        "may_stop": actor.may(Act.TRAIN) and view.card.job.is_stoppable,
        "may_train": actor.may(Act.TRAIN),
        "may_deploy": actor.may(Act.OWN),
    }
    return render(request, "evaluation_app/detail.html", context)


def _live(actor: Actor, evaluation: Evaluation, view: EvaluationView) -> LiveJob:
    job = view.card.job
    here = [actor.project.slug, evaluation.pk]
    log = [
        LogLine(message=str(event.data.get("message")), at=event.at, level=_LEVELS.get(event.kind, "info"))
        for event in log_lines(job.id)
        if event.data.get("message")
    ]
    return LiveJob(
        events_url=reverse("evaluation:events", args=here),
        state=job.state,
        state_label=job.label,
        phase_label=job.phase_label,
        done=job.done,
        total=job.total,
        unit=job.unit,
        eta_seconds=job.eta_seconds,
        log=log,
        last_event_id=evaluation.work.events.order_by("-id").values_list("id", flat=True).first() or 0,
        has_chart=False,
    )


_LEVELS = {"warn": "warning", "error": "error"}


@project_page({"GET": Act.VIEW})
def events(request: HttpRequest, actor: Actor, evaluation_id: str) -> HttpResponseBase:
    """The live stream of the page."""
    evaluation = _evaluation(actor, evaluation_id)
    url = reverse("evaluation:detail", args=[actor.project.slug, evaluation.pk])
    return job_events(request, evaluation.work, url=url)


@project_page({"POST": Act.TRAIN})
def stop(request: HttpRequest, actor: Actor, evaluation_id: str) -> HttpResponse:
    """Cancel an evaluation that waits or runs."""
    evaluation = _evaluation(actor, evaluation_id)
    request_stop(actor=actor, job=evaluation.work, action="cancel")
    return redirect("evaluation:detail", actor.project.slug, evaluation.pk)


@project_page({"GET": Act.VIEW})
def samples(request: HttpRequest, actor: Actor, evaluation_id: str) -> HttpResponse:
    """Every case with both answers."""
    evaluation = _evaluation(actor, evaluation_id)
    wanted = request.GET.get("tuned", "")
    rows, following = sample_rows(evaluation, read_cursor(request.GET.get("cursor")), SAMPLES_PER_PAGE, tuned=wanted)
    context = {
        "project": actor.project,
        "evaluation": evaluation,
        "rows": rows,
        "following": following,
        "tuned": wanted,
        "has_labels": any(row.tuned_correct is not None for row in rows) or bool(wanted),
    }
    return render(request, "evaluation_app/samples.html", context)


@project_page({"GET": Act.VIEW})
def report(request: HttpRequest, actor: Actor, evaluation_id: str) -> HttpResponse:
    """The whole report as a JSON file."""
    evaluation = _evaluation(actor, evaluation_id)
    if not evaluation.report:
        raise UserError("no_report", "This evaluation has no report yet. Wait until it is done.", status=409)
    response = JsonResponse(evaluation.report, json_dumps_params={"ensure_ascii": False, "indent": 1})
    response["Content-Disposition"] = f'attachment; filename="evaluation-{evaluation.pk}.json"'
    return response


def read_cursor(text: str | None) -> int | None:
    """A row number from the address; None for the beginning. Raises UserError for anything else."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UserError(
            "bad_cursor", "This page marker is not valid. Start again from the first page.", "cursor", status=400
        )
    return int(text)
