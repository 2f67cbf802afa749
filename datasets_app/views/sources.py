"""The files of a dataset: add one, take one out, bring it back, and check everything again with other settings."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from datasets_app import operations, queries
from datasets_app.choices import DatasetState
from datasets_app.forms import SettingsForm
from datasets_app.models import Dataset, Source
from datasets_app.views.detail import dataset_of
from datasets_app.views.live import live_job, waiting_sentence
from finetune_engine.errors import UserError
from web_kit.ids import new_id


@project_page({"GET": Act.VIEW})
def files(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """The files of a dataset, the check that runs over them, and how they are checked."""
    dataset = dataset_of(actor, dataset_id)
    initial = {**dataset.options, "idempotency_key": new_id()}
    return _page(request, actor, dataset, SettingsForm(initial=initial))


@project_page({"POST": Act.TRAIN})
def change(request: HttpRequest, actor: Actor, dataset_id: str, number: int) -> HttpResponse:
    """Take a file out (``action=remove``) or bring it back (``action=restore``)."""
    dataset = dataset_of(actor, dataset_id)
    source = fetch_source(dataset, number)
    if request.POST.get("action") == "restore":
        operations.restore_file(actor=actor, dataset=dataset, source=source)
    elif request.POST.get("action") == "remove":
        operations.remove_file(actor=actor, dataset=dataset, source=source)
    else:
        raise UserError("unknown_action", _("A file can be taken out or restored."), field="action")
    return redirect("datasets:sources", actor.project.slug, dataset.pk)


@project_page({"POST": Act.TRAIN})
def check_again(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """Check all rows again, with the settings of the form."""
    dataset = dataset_of(actor, dataset_id)
    form = SettingsForm(request.POST)
    if not form.is_valid():
        return _page(request, actor, dataset, form, status=422)
    try:
        operations.recheck_dataset(
            actor=actor,
            dataset=dataset,
            settings=form.settings,
            idempotency_key=form.cleaned_data["idempotency_key"] or None,
        )
    except UserError as error:
        form.add_user_error(error)
        return _page(request, actor, dataset, form, status=error.status)
    messages.success(request, _("All rows are being checked again. Until that is done, everything stays as it is."))
    return redirect("datasets:sources", actor.project.slug, dataset.pk)


def fetch_source(dataset: Dataset, number: int) -> Source:
    """The file with this number. Raises UserError (404)."""
    source = dataset.sources.select_related("upload").filter(number=number).first()
    if source is None:
        raise UserError("no_such_file", f"This dataset has no file {number}.", status=404)
    return source


def _page(request: HttpRequest, actor: Actor, dataset: Dataset, form: SettingsForm, status: int = 200) -> HttpResponse:
    here = reverse("datasets:sources", args=[actor.project.slug, dataset.pk])
    context: dict[str, Any] = {
        "actor": actor,
        "dataset": dataset,
        "cards": queries.source_cards(dataset),
        "form": form,
        "may_train": actor.may(Act.TRAIN),
        "is_ready": dataset.state == DatasetState.READY,
        "failure": queries.failed_check(dataset),
    }
    if (job := queries.running_check(dataset)) is not None:
        events_url = reverse("datasets:events", args=[actor.project.slug, dataset.pk])
        context["live"] = live_job(job, events_url=events_url, result_url=here)
        context["waiting"] = waiting_sentence(job)
    return render(request, "datasets_app/sources.html", context, status=status)
