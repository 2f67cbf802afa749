"""One evaluation: live while it runs, the verdict when it is done."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from evaluation_app.models import Evaluation
from evaluation_app.queries import EvaluationView, evaluation_view
from evaluation_app.queries.lineage import lineage_of
from evaluation_app.queries.phases import phase_now
from evaluation_app.queries.report.whole import whole_report
from evaluation_app.queries.reviews import is_kept_blind, open_review
from evaluation_app.views.report import whole_evaluation
from web_kit.ids import new_id
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
    evaluation = whole_evaluation(actor, evaluation_id)
    view = evaluation_view(evaluation)
    is_blind = view.has_report and is_kept_blind(actor, evaluation)
    whole = whole_report(evaluation) if view.has_report and not is_blind else None
    context = {
        "project": actor.project,
        "evaluation": evaluation,
        "view": view,
        "whole": whole,
        "is_blind": is_blind,
        "lineage": lineage_of(evaluation) if whole is not None else None,
        "blind_review": open_review(evaluation) if view.has_report else None,
        "live": None if view.card.job.is_terminal else _live(actor, evaluation, view),
        "may_stop": actor.may(Act.TRAIN) and view.card.job.is_stoppable,
        "may_train": actor.may(Act.TRAIN),
        "may_own": actor.may(Act.OWN),
        "again_key": new_id(),  # so that a double click starts one
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
        phase_label=phase_now(evaluation) or job.phase_label,
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
