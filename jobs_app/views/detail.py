"""One training, live."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from jobs_app import queries
from jobs_app.models import TrainingJob
from jobs_app.operations import new_idempotency_key
from work_kit.views.stream import job_events


@project_page(Act.VIEW)
def detail(request: HttpRequest, actor: Actor, job_id: str) -> HttpResponse:
    """Where it stands, how it goes, and what to do next."""
    training = fetch(actor, queries.training_jobs(actor.project), pk=job_id)
    model = queries.trained_model_of(training)
    context = {
        "project": actor.project,
        "training": training,
        "card": queries.training_card(training),
        "live": queries.live_job(
            training,
            events_url=reverse("jobs:events", args=[actor.project.slug, training.pk]),
        ),
        "buttons": queries.stop_buttons(training),
        "settings": queries.settings_told(training),
        "states": queries.saved_states(training),
        "waiting": queries.waiting(training),
        "lineage": queries.lineage(training),
        "model": model,
        "may_train": actor.may(Act.TRAIN),
        "may_own": actor.may(Act.OWN),
        "idempotency_key": new_idempotency_key(),
    }
    return render(request, "jobs_app/detail.html", context)


@project_page({"GET": Act.VIEW})
def metrics_csv(request: HttpRequest, actor: Actor, job_id: str) -> HttpResponse:
    """One line per step, with every number that was told; also while it runs."""
    training = fetch(actor, TrainingJob, pk=job_id)
    response = HttpResponse(queries.metrics_table(training), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="step_metrics_{training.pk}.csv"'
    return response


@project_page(Act.VIEW)
def events(request: HttpRequest, actor: Actor, job_id: str) -> HttpResponseBase:
    """The stream behind the page."""
    training = fetch(actor, TrainingJob.objects.select_related("work"), pk=job_id)
    return job_events(request, training.work)
