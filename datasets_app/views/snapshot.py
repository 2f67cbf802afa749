"""One frozen snapshot."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from datasets_app import operations, queries
from datasets_app.choices import SPLITS, SnapshotState
from datasets_app.exports import export_file, exports_of
from datasets_app.models import Snapshot
from datasets_app.queries.plots import snapshot_plots
from datasets_app.queries.snapshots import snapshot_card
from datasets_app.streaming import attachment
from datasets_app.views.detail import dataset_of
from datasets_app.views.live import live_job, stream, waiting_sentence
from work_kit.operations import request_stop


def snapshot_of(actor: Actor, dataset_id: str, number: int) -> Snapshot:
    """The snapshot with this number of the project's dataset. Raises Http404."""
    dataset = dataset_of(actor, dataset_id)
    found = queries.snapshots_of_dataset(dataset).filter(number=number).first()
    if found is None:
        raise Http404("no such snapshot")
    return found


@project_page({"GET": Act.VIEW})
def detail(request: HttpRequest, actor: Actor, dataset_id: str, number: int) -> HttpResponse:
    """The snapshot's page."""
    snapshot = snapshot_of(actor, dataset_id, number)
    context = {
        "actor": actor,
        "dataset": snapshot.dataset,
        "snapshot": snapshot,
        "card": snapshot_card(snapshot),
        "may_train": actor.may(Act.TRAIN),
        "splits": SPLITS,
    }
    if snapshot.state == SnapshotState.READY:
        context |= {
            "plots": snapshot_plots(snapshot),
            "exports": exports_of(snapshot),
            "previous": queries.previous_snapshot(snapshot),
        }
    elif snapshot.state == SnapshotState.PROCESSING and snapshot.job is not None:
        address = [actor.project.slug, dataset_id, number]
        context["live"] = live_job(
            snapshot.job,
            events_url=reverse("datasets:snapshot_events", args=address),
            result_url=reverse("datasets:snapshot", args=address),
        )
        context["waiting"] = waiting_sentence(snapshot.job)
    return render(request, "datasets_app/snapshot.html", context)


@project_page({"GET": Act.VIEW})
def events(request: HttpRequest, actor: Actor, dataset_id: str, number: int) -> HttpResponseBase:
    """The freezing as a stream."""
    snapshot = snapshot_of(actor, dataset_id, number)
    return stream(request, snapshot.job, reverse("datasets:snapshot", args=[actor.project.slug, dataset_id, number]))


@project_page({"POST": Act.TRAIN})
def stop(request: HttpRequest, actor: Actor, dataset_id: str, number: int) -> HttpResponse:
    """Cancel the freezing."""
    snapshot = snapshot_of(actor, dataset_id, number)
    if snapshot.job is not None:
        request_stop(actor=actor, job=snapshot.job, action="cancel")
    return redirect("datasets:snapshot", actor.project.slug, dataset_id, number)


@project_page({"GET": Act.VIEW})
def download(request: HttpRequest, actor: Actor, dataset_id: str, number: int) -> HttpResponseBase:
    """The snapshot in a ``?format=``, all of it or one ``?split=``."""
    snapshot = snapshot_of(actor, dataset_id, number)
    return download_response(
        request, actor, snapshot, split=request.GET.get("split", ""), format=request.GET.get("format", "")
    )


def download_response(
    request: HttpRequest, actor: Actor, snapshot: Snapshot, *, split: str, format: str
) -> HttpResponseBase:
    """The file as an attachment, with an audit entry. Raises UserError before the first byte."""
    file = export_file(snapshot, format, split)
    operations.record_download(
        actor=actor,
        act="snapshot.download",
        subject=f"snapshot {snapshot.pk}",
        data={"split": split, "format": format or "jsonl"},
    )
    return attachment(request, file.parts, name=file.name, content_type=file.content_type)
