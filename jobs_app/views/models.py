"""One trained model."""

from __future__ import annotations

from django.contrib import messages
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from finetune_engine.errors import UserError
from jobs_app import queries
from jobs_app.archive import zip_of_model, zip_of_tensorboard
from jobs_app.models import TrainedModel
from jobs_app.operations import delete_trained_model


@project_page(Act.VIEW)
def detail(request: HttpRequest, actor: Actor, model_id: str) -> HttpResponse:
    """What it is, how it was made, and what to do with it."""
    model = fetch(actor, queries.trained_models(actor.project), pk=model_id)
    names = queries.base_model_names()
    context = {
        "project": actor.project,
        "model": model,
        "base_model_name": names.get(model.base_model_key, model.base_model_key),
        "data_name": queries.data_name(model.training_job),
        "run": queries.run_told(model),
        "points": queries.model_series(model),
        "own_model": queries.trained_model_of(model.training_job),
        "may_own": actor.may(Act.OWN),
        "may_train": actor.may(Act.TRAIN),
    }
    return render(request, "jobs_app/model.html", context)


@project_page(Act.VIEW)
def download(request: HttpRequest, actor: Actor, model_id: str) -> FileResponse:
    """The model's files as one zip."""
    model = fetch(actor, TrainedModel, pk=model_id)
    archive = zip_of_model(model)
    record(actor=actor, project=actor.project, act="model.download", subject=f"model {model.api_name}")
    name = f"{slugify(model.name) or 'model'}-{model.pk[-6:]}.zip"
    return FileResponse(archive, as_attachment=True, filename=name, content_type="application/zip")


@project_page({"GET": Act.VIEW})
def tensorboard(request: HttpRequest, actor: Actor, model_id: str) -> FileResponse:
    """The event files that TensorBoard reads, as one zip."""
    model = fetch(actor, TrainedModel, pk=model_id)
    archive = zip_of_tensorboard(model)
    if archive is None:
        raise Http404("no event files")
    name = f"tensorboard-{slugify(model.name) or 'model'}-{model.pk[-6:]}.zip"
    return FileResponse(archive, as_attachment=True, filename=name, content_type="application/zip")


@project_page({"POST": Act.OWN})
def delete(request: HttpRequest, actor: Actor, model_id: str) -> HttpResponse:
    """Delete it with its files; asks by name."""
    model = fetch(actor, TrainedModel, pk=model_id)
    if request.POST.get("confirm_name", "").strip() != model.name:
        raise UserError(
            "name_mismatch", _("The name you typed is not the model's name. Nothing was deleted."), "confirm_name"
        )
    delete_trained_model(actor=actor, model=model)
    messages.success(request, _("The model and its files were deleted."))
    return redirect("jobs:list", slug=actor.project.slug)
