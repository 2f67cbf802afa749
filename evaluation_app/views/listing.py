"""The list of evaluations, and the page that starts one."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from datasets_app.queries import ready_snapshots
from evaluation_app.forms import EvaluationForm
from evaluation_app.operations import start_evaluation
from evaluation_app.queries import evaluation_card, evaluations_of, sample_power
from finetune_engine.errors import UserError
from jobs_app.queries import models_with_files
from web_kit.pagination import paginate


@project_page({"GET": Act.VIEW})
def listing(request: HttpRequest, actor: Actor) -> HttpResponse:
    """All evaluations of the project, newest first."""
    page = paginate(evaluations_of(actor.project), order=("-id",), cursor=request.GET.get("cursor"))
    context = {
        "project": actor.project,
        "cards": [evaluation_card(evaluation) for evaluation in page],
        "page": page,
        "may_start": actor.may(Act.TRAIN),
        "has_models": models_with_files(actor.project).exists(),
    }
    return render(request, "evaluation_app/listing.html", context)


@project_page({"GET": Act.TRAIN, "POST": Act.TRAIN})
def new(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Start an evaluation. The page of a trained model posts only its id here."""
    data = request.POST if request.method == "POST" else None
    form = EvaluationForm(data, project=actor.project, initial={"trained_model": request.GET.get("model")})
    if form.is_bound and form.is_valid():
        try:
            evaluation = start_evaluation(actor=actor, **form.wishes())
        except UserError as error:
            form.add_user_error(error)
        else:
            return redirect("evaluation:detail", actor.project.slug, evaluation.pk)
    context = {
        "project": actor.project,
        "form": form,
        "has_models": models_with_files(actor.project).exists(),
        "powers": [
            (snapshot, sample_power(int((snapshot.counts or {}).get("test") or 0)))
            for snapshot in ready_snapshots(actor.project)[:8]
        ],
    }
    return render(request, "evaluation_app/new.html", context, status=422 if form.is_bound else 200)
