"""One dataset: how good it is, what was found, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from datasets_app import operations, queries
from datasets_app.choices import DatasetState
from datasets_app.models import Dataset, Snapshot
from datasets_app.queries.plots import dataset_plots
from datasets_app.views.live import live_job, stream, waiting_sentence
from web_kit.wording import number_words
from work_kit.operations import request_stop

FIRST_ROWS = 5
SHOWN_SOURCES = 6


@dataclass(frozen=True)
class NextAct:
    """The one thing to do next on this page."""

    words: str
    url: str
    icon: str


def dataset_of(actor: Actor, dataset_id: str) -> Dataset:
    """The project's dataset with this id, with its upload and job. Raises Http404."""
    return fetch(actor, queries.datasets_of(actor.project), pk=dataset_id)


@project_page({"GET": Act.VIEW})
def detail(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """The dataset's page."""
    dataset = dataset_of(actor, dataset_id)
    context = {
        "actor": actor,
        "dataset": dataset,
        "card": queries.dataset_card(dataset),
        "may_review": actor.may(Act.REVIEW),
        "may_train": actor.may(Act.TRAIN),
        "may_delete": actor.may(Act.OWN),
    }
    if dataset.state == DatasetState.READY:
        context |= _ready_context(actor, dataset)
    if (check := queries.running_check(dataset)) is not None:
        here = reverse("datasets:detail", args=[actor.project.slug, dataset.pk])
        events_url = reverse("datasets:events", args=[actor.project.slug, dataset.pk])
        context["live"] = live_job(check, events_url=events_url, result_url=here)
        context["waiting"] = waiting_sentence(check)
    return render(request, "datasets_app/detail.html", context)


def _ready_context(actor: Actor, dataset: Dataset) -> dict[str, Any]:
    """What the page shows of checked rows: counters and figures of the job, and the first few rows."""
    newest = queries.latest_snapshot(dataset)
    sources = [card for card in queries.source_cards(dataset) if card.state != "removed"]
    return {
        "rows": queries.example_rows(dataset, limit=FIRST_ROWS),
        "plots": dataset_plots(dataset),
        "sources": sources[:SHOWN_SOURCES],
        "more_sources": max(0, len(sources) - SHOWN_SOURCES),
        "newest": newest,
        "next_act": _next_act(actor, dataset, newest),
        "failed_check": queries.failed_check(dataset),
    }


def _next_act(actor: Actor, dataset: Dataset, newest: Snapshot | None) -> NextAct | None:
    """Decide what waits, then freeze, then train; None for somebody who may do none of them."""
    here = [actor.project.slug, dataset.pk]
    if dataset.needs_review and actor.may(Act.REVIEW):
        words = ngettext("Decide on %(n)s row", "Decide on %(n)s rows", dataset.needs_review)
        return NextAct(words % {"n": number_words(dataset.needs_review)}, _review_url(here), "eye")
    if not actor.may(Act.TRAIN) or not dataset.usable:
        return None
    if newest is None or not queries.is_current(newest, dataset):
        return NextAct(_("Freeze a snapshot"), reverse("datasets:freeze", args=here), "snowflake")
    try:
        url = reverse("jobs:new", args=[actor.project.slug])
    except NoReverseMatch:
        return None
    return NextAct(
        _("Train a model on snapshot %(n)s") % {"n": newest.number}, f"{url}?snapshot={newest.pk}", "activity"
    )


def _review_url(here: list[str]) -> str:
    try:
        return reverse("datasets:review", args=here)
    except NoReverseMatch:
        return reverse("datasets:examples", args=here) + "?status=needs_review"


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
