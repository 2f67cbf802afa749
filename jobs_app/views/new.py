"""Start a training: the form, what it will take, and measuring the machine first."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from finetune_engine.errors import UserError
from finetune_engine.train.spec import SpecProblems
from jobs_app import queries
from jobs_app.forms import NewTrainingForm, initial_of
from jobs_app.models import TrainingJob
from jobs_app.operations import new_idempotency_key, start_probe, start_training
from jobs_app.queries.outlook import Outlook, outlook
from jobs_app.training_settings import PRESETS, preset_values

FIELD_OF = {"snapshot": "examples", "dataset": "examples", "training_file": "examples", "validation_file": "validation"}


@project_page(Act.TRAIN)
def new(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The form; POST checks everything, starts the job and goes to its page."""
    if request.method != "POST":
        return _page(request, actor, NewTrainingForm(initial=_initial(request, actor), project=actor.project))
    form = NewTrainingForm(request.POST, project=actor.project)
    if not form.is_valid():
        return _page(request, actor, form, status=422)
    chosen = form.cleaned_data
    told = _outlook(actor, form).estimate
    try:
        training = start_training(
            actor=actor,
            name=chosen["name"],
            base_model_key=chosen["base_model"],
            snapshot=chosen["snapshot"],
            dataset=chosen["dataset"],
            spec=chosen["spec"],
            suffix=chosen["suffix"],
            idempotency_key=chosen["idempotency_key"],
            validation_dataset=chosen["validation_dataset"],
            parent_model=chosen["parent"],
            cloned_from=_cloned(actor, chosen["clone"]),
            estimate=told.as_dict() if told is not None else None,
            cost_approved=chosen["cost_approved"],
        )
    except UserError as error:
        _show(form, error)
        return _page(request, actor, form, status=422)
    return redirect("jobs:detail", slug=actor.project.slug, job_id=training.pk)


@project_page({"POST": Act.TRAIN})
def estimate(request: HttpRequest, actor: Actor) -> HttpResponse:
    """What the training in the form would take: the fragment for htmx, the whole page otherwise. Changes nothing."""
    form = NewTrainingForm(request.POST, project=actor.project)
    form.is_valid()
    return _told(request, actor, form)


@project_page({"POST": Act.TRAIN})
def probe(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Start a short test run with the form's choices, to measure the machine that would train."""
    form = NewTrainingForm(request.POST, project=actor.project)
    if form.is_valid():
        chosen = form.cleaned_data
        try:
            start_probe(
                actor=actor,
                base_model_key=chosen["base_model"],
                snapshot=chosen["snapshot"],
                dataset=chosen["dataset"],
                spec=chosen["spec"],
            )
        except UserError as error:
            _show(form, error)
    return _told(request, actor, form)


def _told(request: HttpRequest, actor: Actor, form: NewTrainingForm) -> HttpResponse:
    if not request.headers.get("HX-Request"):
        return _page(request, actor, form, status=422 if form.errors else 200)
    context = {"project": actor.project, "outlook": _outlook(actor, form), "form": form}
    return render(request, "jobs_app/new.html#outlook", context)


def _show(form: NewTrainingForm, error: UserError) -> None:
    """A refusal beside the field of the form that it is about."""
    error.field = FIELD_OF.get(error.field or "", error.field)
    form.add_user_error(error)
    form.asks_cost = error.code in {"cost_not_approved", "over_budget"}


def _cloned(actor: Actor, pk: str) -> TrainingJob | None:
    return queries.training_jobs(actor.project).filter(pk=pk).first() if pk else None


def _initial(request: HttpRequest, actor: Actor) -> dict[str, Any]:
    initial: dict[str, Any] = {"preset": "balanced"}
    if pk := request.GET.get("clone"):
        initial |= initial_of(fetch(actor, queries.training_jobs(actor.project), pk=pk))
    for kind in ("dataset", "snapshot"):
        if pk := request.GET.get(kind):
            initial["examples"] = f"{kind}:{pk}"
    if pk := request.GET.get("parent"):
        parent = fetch(actor, queries.trained_models(actor.project), pk=pk)
        initial |= {"parent_model": parent.pk, "base_model": parent.base_model_key}
    if key := request.GET.get("base"):
        initial["base_model"] = key
    return initial | {"idempotency_key": new_idempotency_key()}


def _chosen_base(form: NewTrainingForm) -> str:
    available = [card.key for card in form.cards if card.is_available]
    return str(form["base_model"].value() or (available[0] if available else ""))


def _outlook(actor: Actor, form: NewTrainingForm) -> Outlook:
    """What the form's choices, as far as they can be read, would take."""
    card = next((card for card in form.cards if card.key == _chosen_base(form)), None)
    if form.is_bound:
        chosen = form.cleaned_data
        data = chosen.get("snapshot") or chosen.get("dataset")
        spec, validation = chosen.get("spec") or {}, chosen.get("validation_dataset")
    else:
        data, spec, validation = _unbound(form)
    try:
        return outlook(actor.project, card, data, spec, validation=validation)
    except SpecProblems:
        return Outlook(mistake=True)


def _unbound(form: NewTrainingForm) -> tuple[Any, dict[str, Any], Any]:
    """The first choices of a fresh form: what the browser will show as chosen."""
    examples = str(form["examples"].value() or "")
    if not examples:
        groups = form.data_choices
        examples = groups[0][1][0][0] if groups else ""
    snapshot, dataset = form.data_named(examples)
    spec = preset_values(str(form["preset"].value())) | form.asked(form.initial)
    return snapshot or dataset, spec, form.datasets.get(str(form["validation"].value() or ""))


def _page(request: HttpRequest, actor: Actor, form: NewTrainingForm, status: int = 200) -> HttpResponse:
    near, far = form.near_and_far()
    chosen = _chosen_base(form)
    context = {
        "form": form,
        "near": near,
        "far": far,
        "chosen_is_far": any(card.key == chosen for card in far),
        "project": actor.project,
        "presets": PRESETS,
        "chosen_base": chosen,
        "chosen_preset": form["preset"].value() or "balanced",
        "outlook": _outlook(actor, form) if form.has_data else None,
        "may_own": actor.may(Act.OWN),
    }
    return render(request, "jobs_app/new.html", context, status=status)
