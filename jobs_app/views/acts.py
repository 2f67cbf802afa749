"""The buttons on a training's page."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from finetune_engine.errors import UserError
from jobs_app import queries
from jobs_app.models import TrainingJob
from jobs_app.operations import new_idempotency_key, start_training
from jobs_app.operations.checkpoint_models import drop_checkpoint_model, use_checkpoint
from work_kit.choices import StopAction
from work_kit.operations import request_stop, resume_job

TOLD = {
    StopAction.CANCEL: _("The training is being cancelled; what it made is discarded."),
    StopAction.PAUSE: _("The training saves its state and pauses."),
    StopAction.STOP_AND_KEEP: _("The training stops and keeps the best state so far."),
}


def _training(actor: Actor, job_id: str) -> TrainingJob:
    return fetch(actor, queries.training_jobs(actor.project), pk=job_id)


@project_page({"POST": Act.TRAIN})
def stop(request: HttpRequest, actor: Actor, job_id: str) -> HttpResponse:
    """Cancel (asks by name), pause, or stop and keep."""
    training = _training(actor, job_id)
    action = request.POST.get("action", "")
    if action == StopAction.CANCEL and request.POST.get("confirm_name", "").strip() != training.name:
        raise UserError(
            "name_mismatch",
            str(_("The name you typed is not the training's name. Nothing was cancelled.")),
            "confirm_name",
        )
    request_stop(actor=actor, job=training.work, action=action)
    messages.success(request, TOLD[StopAction(action)])
    return redirect("jobs:detail", slug=actor.project.slug, job_id=training.pk)


@project_page({"POST": Act.TRAIN})
def resume(request: HttpRequest, actor: Actor, job_id: str) -> HttpResponse:
    """Go on with a paused training."""
    training = _training(actor, job_id)
    resume_job(actor=actor, job=training.work)
    messages.success(request, _("The training goes on as soon as a machine is free."))
    return redirect("jobs:detail", slug=actor.project.slug, job_id=training.pk)


@project_page({"POST": Act.TRAIN})
def use_state(request: HttpRequest, actor: Actor, job_id: str, step: int) -> HttpResponse:
    """*Use this one*: a saved state becomes a model; ``undo`` takes it back."""
    training = _training(actor, job_id)
    state = next((state for state in queries.saved_states(training) if state.row.step == step), None)
    model = queries.models_by_step(training).get(step)
    if request.POST.get("undo") and model is not None:
        drop_checkpoint_model(actor=actor, model=model)
        messages.success(request, _("Undone: the saved state is no model of its own any more."))
        return redirect("jobs:detail", slug=actor.project.slug, job_id=training.pk)
    if state is None:
        raise Http404("no such saved state")
    model = use_checkpoint(actor=actor, checkpoint=state.row)
    messages.success(request, _("The saved state is a model now: evaluate it, deploy it or download it."))
    return redirect("jobs:model", slug=actor.project.slug, model_id=model.pk)


@project_page({"POST": Act.TRAIN})
def retry(request: HttpRequest, actor: Actor, job_id: str) -> HttpResponse:
    """The same training again, as a new job."""
    training = _training(actor, job_id)
    ready = training.snapshot is not None and training.snapshot.state == "ready"
    try:
        again = start_training(
            actor=actor,
            name=training.name,
            base_model_key=training.base_model_key,
            snapshot=training.snapshot if ready else None,
            dataset=training.dataset,
            spec=training.spec,
            suffix=training.suffix,
            metadata=training.metadata,
            validation_dataset=training.validation_dataset,
            parent_model=training.parent_model,
            cloned_from=training,
            idempotency_key=request.POST.get("idempotency_key") or None,
            connection=training.connection,
            provider_settings=training.remote.get("hyperparameters"),
            cost_approved=bool(request.POST.get("cost_approved")),
        )
    except UserError as error:
        if error.code != "cost_not_approved":
            raise
        context = {
            "project": actor.project,
            "training": training,
            "sentence": error.sentence,
            "idempotency_key": request.POST.get("idempotency_key") or new_idempotency_key(),
        }
        return render(request, "jobs_app/confirm_cost.html", context, status=error.status)
    return redirect("jobs:detail", slug=actor.project.slug, job_id=again.pk)
