"""One dataset: how good it is, what was found, and what to do next."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from datasets_app import operations, queries
from datasets_app.choices import DatasetState, TaskType
from datasets_app.forms import SnapshotForm
from datasets_app.models import Dataset
from datasets_app.views.live import live_job, stream, waiting_sentence
from finetune_engine.errors import UserError
from web_kit.ids import new_id
from work_kit.operations import request_stop

FIRST_ROWS = 10


def dataset_of(actor: Actor, dataset_id: str) -> Dataset:
    """The project's dataset with this id, with its upload and job. Raises Http404."""
    return fetch(actor, queries.datasets_of(actor.project), pk=dataset_id)


def _page(
    request: HttpRequest, actor: Actor, dataset: Dataset, form: SnapshotForm | None = None, status: int = 200
) -> HttpResponse:
    context = {
        "actor": actor,
        "dataset": dataset,
        "card": queries.dataset_card(dataset),
        "may_review": actor.may(Act.REVIEW),
        "may_train": actor.may(Act.TRAIN),
        "may_delete": actor.may(Act.OWN),
    }
    if dataset.state == DatasetState.READY:
        context |= {
            "rows": queries.example_rows(dataset, limit=FIRST_ROWS),
            "filters": queries.RowFilters(),
            "snapshots": list(queries.snapshots_of_dataset(dataset)[:20]),
            "form": form or snapshot_form(dataset),
        }
    elif dataset.state == DatasetState.PROCESSING and dataset.job is not None:
        here = reverse("datasets:detail", args=[actor.project.slug, dataset.pk])
        events_url = reverse("datasets:events", args=[actor.project.slug, dataset.pk])
        context["live"] = live_job(dataset.job, events_url=events_url, result_url=here)
        context["waiting"] = waiting_sentence(dataset.job)
    return render(request, "datasets_app/detail.html", context, status=status)


def snapshot_form(dataset: Dataset, data: object = None) -> SnapshotForm:
    """The form that freezes this dataset."""
    mapping = dataset.mapping or {}
    grouped = mapping.get("group")
    names = [grouped] if grouped else [c for c in dataset.columns if c in (mapping.get("metadata") or [])]
    has_labels = dataset.task_type == TaskType.CLASSIFICATION
    return SnapshotForm(data, columns=names, has_labels=has_labels, initial={"idempotency_key": new_id()})  # type: ignore[arg-type]


@project_page({"GET": Act.VIEW})
def detail(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """The dataset's page."""
    return _page(request, actor, dataset_of(actor, dataset_id))


@project_page({"GET": Act.VIEW})
def events(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponseBase:
    """The import as a stream."""
    dataset = dataset_of(actor, dataset_id)
    return stream(request, dataset.job, reverse("datasets:detail", args=[actor.project.slug, dataset.pk]))


@project_page({"POST": Act.TRAIN})
def stop(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """Cancel the import."""
    dataset = dataset_of(actor, dataset_id)
    if dataset.job is not None:
        request_stop(actor=actor, job=dataset.job, action="cancel")
    return redirect("datasets:detail", actor.project.slug, dataset.pk)


@project_page({"POST": Act.TRAIN})
def freeze(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """Freeze a snapshot."""
    dataset = dataset_of(actor, dataset_id)
    form = snapshot_form(dataset, request.POST)
    if not form.is_valid():
        return _page(request, actor, dataset, form, status=422)
    try:
        snapshot = operations.create_snapshot(
            actor=actor,
            dataset=dataset,
            split=form.split,
            seed=form.cleaned_data["seed"],
            stratify_by="label" if form.cleaned_data.get("stratify") else None,
            group_by=form.cleaned_data.get("group_by") or None,
            idempotency_key=form.cleaned_data["idempotency_key"] or None,
        )
    except UserError as error:
        form.add_user_error(error)
        return _page(request, actor, dataset, form, status=error.status)
    return redirect("datasets:snapshot", actor.project.slug, dataset.pk, snapshot.number)


@project_page({"POST": Act.OWN})
def delete(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """Delete the dataset whose name was typed."""
    dataset = dataset_of(actor, dataset_id)
    if request.POST.get("confirm_name", "").strip() != dataset.name:
        messages.error(request, _("Nothing was deleted: the name you typed is not the name of this dataset."))
        return redirect("datasets:detail", actor.project.slug, dataset.pk)
    operations.delete_dataset(actor=actor, dataset=dataset)
    messages.success(request, _("The dataset “%(name)s” was deleted.") % {"name": dataset.name})
    return redirect("datasets:list", actor.project.slug)
