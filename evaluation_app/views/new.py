"""The page that starts an evaluation, and running one again."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from datasets_app.models import Snapshot
from evaluation_app.choices import Split
from evaluation_app.forms import EvaluationForm
from evaluation_app.models import Evaluation
from evaluation_app.operations import repeat_evaluation, start_evaluation
from evaluation_app.operations.spending import CostNotApproved
from evaluation_app.queries.outlook import Outlook, outlook
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from web_kit.htmx import is_htmx
from web_kit.ids import new_id


@project_page({"GET": Act.TRAIN, "POST": Act.TRAIN})
def new(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Start an evaluation. The page of a trained model posts only its id here."""
    if request.method != "POST":
        initial = {name: request.GET.get(key) for name, key in (("trained_model", "model"), ("snapshot", "snapshot"))}
        initial["idempotency_key"] = new_id()
        return _page(request, actor, EvaluationForm(project=actor.project, initial=initial))
    told = request.POST.copy()
    if not told.get("idempotency_key"):  # so that a form that is shown again starts one, however often it is sent
        told["idempotency_key"] = new_id()
    form = EvaluationForm(told, project=actor.project)
    if form.is_valid():
        try:
            evaluation = start_evaluation(actor=actor, **form.wishes())
        except UserError as error:
            if error.status == 404:
                raise
            form.add_problems(error)
        else:
            return redirect("evaluation:detail", actor.project.slug, evaluation.pk)
    return _page(request, actor, form, status=422)


@project_page({"POST": Act.TRAIN})
def foresee(request: HttpRequest, actor: Actor) -> HttpResponse:
    """What the evaluation in the form can show: the fragment for htmx, the whole page otherwise. Changes nothing."""
    form = EvaluationForm(request.POST, project=actor.project)
    form.is_valid()
    if not is_htmx(request):
        return _page(request, actor, form)
    context = {"project": actor.project, "form": form, "outlook": _outlook(actor, form)}
    return render(request, "evaluation_app/new.html#outlook", context)


@project_page({"POST": Act.TRAIN})
def repeat(request: HttpRequest, actor: Actor, evaluation_id: str) -> HttpResponse:
    """Run the same models again: on the snapshot named ``snapshot``, or the newest of the same data."""
    rows = Evaluation.objects.select_related("trained_model__training_job", "snapshot__dataset").defer("report")
    rows = rows.prefetch_related("contenders__trained_model__training_job", "contenders__connection")
    evaluation = fetch(actor, rows, pk=evaluation_id)
    wanted, key = request.POST.get("snapshot") or "", (request.POST.get("idempotency_key") or new_id())[:200]
    try:
        again = repeat_evaluation(
            actor=actor,
            evaluation=evaluation,
            snapshot=fetch(actor, Snapshot, pk=wanted) if wanted else None,
            idempotency_key=key,
            cost_approved=bool(request.POST.get("cost_approved")),
            cost_figures=request.POST.get("cost_figures") or "",
        )
    except CostNotApproved as error:
        context = {"project": actor.project, "evaluation": evaluation, "sentence": error.sentence}
        context |= {"snapshot": wanted, "idempotency_key": key, "cost_figures": error.figures}
        return render(request, "evaluation_app/confirm_cost.html", context, status=error.status)
    return redirect("evaluation:detail", actor.project.slug, again.pk)


def _page(request: HttpRequest, actor: Actor, form: EvaluationForm, status: int = 200) -> HttpResponse:
    context = {
        "project": actor.project,
        "form": form,
        "has_models": bool(form.models),
        "outlook": _outlook(actor, form) if form.models else None,
        "may_own": actor.may(Act.OWN),
    }
    return render(request, "evaluation_app/new.html", context, status=status)


def _outlook(actor: Actor, form: EvaluationForm) -> Outlook:
    """What the form's choices, as far as they can be read, can show."""
    told: dict[str, Any] = form.cleaned_data if form.is_bound else {}
    model = told.get("trained_model") or _first_model(form)
    snapshot = told.get("snapshot") or (model.training_job.snapshot if model is not None else None)
    percent = told.get("discordance")
    return outlook(
        actor.project,
        snapshot,
        split=told.get("split") or Split.TEST,
        limit=told.get("limit"),
        discordance=percent / 100 if percent else None,
    )


def _first_model(form: EvaluationForm) -> TrainedModel | None:
    """What a fresh form shows as chosen."""
    wanted = form["trained_model"].value()
    return next((model for model in form.models if model.pk == wanted), form.models[0] if form.models else None)
