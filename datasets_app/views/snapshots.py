"""All snapshots of a dataset, how to freeze the next one, and what differs between two."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from datasets_app import operations, queries
from datasets_app.choices import DEFAULT_SPLIT, DatasetState, SnapshotState
from datasets_app.models import Dataset, Snapshot
from datasets_app.queries.diff import diff_sections, snapshot_diff, takes_seconds
from datasets_app.queries.freezing import freeze_preview
from datasets_app.queries.snapshots import snapshot_card
from datasets_app.snapshot_forms import SnapshotForm
from datasets_app.views.detail import dataset_of
from datasets_app.views.snapshot import snapshot_of
from finetune_engine.errors import UserError
from web_kit.ids import new_id
from web_kit.pagination import paginate


@project_page({"GET": Act.VIEW})
def snapshots(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """The list, newest first."""
    dataset = dataset_of(actor, dataset_id)
    rows = queries.snapshots_of_dataset(dataset)
    page = paginate(rows, order=("-number",), limit=50, cursor=request.GET.get("cursor"))
    ready = [snapshot.number for snapshot in page.items if snapshot.state == SnapshotState.READY]
    context = {
        "actor": actor,
        "dataset": dataset,
        "page": page,
        "cards": [snapshot_card(snapshot) for snapshot in page.items],
        "ready": ready,
        "may_freeze": actor.may(Act.TRAIN) and dataset.state == DatasetState.READY and dataset.usable > 0,
    }
    return render(request, "datasets_app/snapshots.html", context)


@project_page({"GET": Act.TRAIN, "POST": Act.TRAIN})
def freeze(request: HttpRequest, actor: Actor, dataset_id: str) -> HttpResponse:
    """How to divide the rows, with the counts it would give; POST freezes them (``look``: shows the counts only)."""
    dataset = dataset_of(actor, dataset_id)
    if request.method != "POST":
        if dataset.state != DatasetState.READY:
            raise UserError("dataset_not_ready", _("The rows can be frozen once the check is done."), status=409)
        return _freeze_page(request, actor, dataset, _form(dataset))
    form = SnapshotForm(request.POST, dataset=dataset)
    if not form.is_valid():
        return _freeze_page(request, actor, dataset, form, status=422)
    if request.POST.get("look"):
        return _freeze_page(request, actor, dataset, form)
    try:
        snapshot = _freeze(actor, dataset, form)
    except UserError as error:
        form.add_user_error(error)
        return _freeze_page(request, actor, dataset, form, status=error.status)
    return redirect("datasets:snapshot", actor.project.slug, dataset.pk, snapshot.number)


def _freeze(actor: Actor, dataset: Dataset, form: SnapshotForm) -> Snapshot:
    return operations.create_snapshot(
        actor=actor,
        dataset=dataset,
        split=form.shares,
        seed=form.cleaned_data["seed"],
        stratify_by=form.stratification,
        group_by=form.cleaned_data.get("group_by") or None,
        idempotency_key=form.cleaned_data["idempotency_key"] or None,
    )


def _form(dataset: Dataset) -> SnapshotForm:
    grouped = (dataset.mapping or {}).get("group")
    return SnapshotForm(dataset=dataset, initial={"idempotency_key": new_id(), "group_by": grouped or ""})


def _freeze_page(
    request: HttpRequest, actor: Actor, dataset: Dataset, form: SnapshotForm, status: int = 200
) -> HttpResponse:
    shares = form.shares if form.is_bound and form.is_valid() else DEFAULT_SPLIT
    context = {
        "actor": actor,
        "dataset": dataset,
        "form": form,
        "preview": freeze_preview(actor.project, dataset, shares),
    }
    return render(request, "datasets_app/freeze.html", context, status=status)


@project_page({"GET": Act.VIEW})
def diff(request: HttpRequest, actor: Actor, dataset_id: str, number: int) -> HttpResponse:
    """What changed in this snapshot since an earlier one (``?from=``, else the one before).

    Two large ones that were never compared are compared by a second request (``now``), which the page makes itself.
    """
    snapshot = snapshot_of(actor, dataset_id, number)
    before = earlier_one(actor, snapshot, request.GET.get("from", ""))
    context = {
        "actor": actor,
        "dataset": snapshot.dataset,
        "snapshot": snapshot,
        "before": before,
        "others": [
            other.number
            for other in queries.snapshots_of_dataset(snapshot.dataset).filter(state=SnapshotState.READY)[:100]
            if other.pk != snapshot.pk
        ],
    }
    if "now" in request.GET or not takes_seconds(before, snapshot):
        found = snapshot_diff(before, snapshot)
        context |= {"diff": found, "sections": diff_sections(found)}
    return render(request, "datasets_app/snapshot_diff.html", context)


def earlier_one(actor: Actor, snapshot: Snapshot, number: str) -> Snapshot:
    """The snapshot of the same dataset to compare with. Raises UserError when there is none, Http404 when it does not
    exist."""
    if number:
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise UserError("bad_number", _("“from” is the number of an earlier snapshot of this data."), field="from")
        return snapshot_of(actor, snapshot.dataset_id, int(number))
    before = queries.previous_snapshot(snapshot)
    if before is None:
        raise UserError(
            "no_earlier_snapshot", _("There is no earlier snapshot of this data to compare with."), status=404
        )
    return before
