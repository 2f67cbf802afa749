"""The pages that say which models were trained on a row or a snapshot, whole or as a part of another page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from datasets_app.queries.rows import full_rows, visible
from datasets_app.views.ready import ready_dataset
from datasets_app.views.snapshot import snapshot_of
from finetune_engine.errors import UserError
from finetune_site import provenance


@project_page({"GET": Act.VIEW})
def row_models(request: HttpRequest, actor: Actor, dataset_id: str, row: int) -> HttpResponse:
    """The snapshots that hold a row, and the models trained on them."""
    dataset = ready_dataset(actor, dataset_id)
    found = visible(dataset).filter(row=row).first()
    if found is None:
        raise UserError("no_such_row", f"This dataset has no row {row}.", status=404)
    uses = provenance.row_uses(actor.project, dataset, full_rows(dataset, [found])[0])
    context = {"actor": actor, "dataset": dataset, "row": found, "uses": uses}
    return render(request, "finetune_site/row_models.html", context)


@project_page({"GET": Act.VIEW})
def snapshot_models(request: HttpRequest, actor: Actor, dataset_id: str, number: int) -> HttpResponse:
    """The models trained on a snapshot."""
    snapshot = snapshot_of(actor, dataset_id, number)
    context = {
        "actor": actor,
        "dataset": snapshot.dataset,
        "snapshot": snapshot,
        "models": provenance.snapshot_models(actor.project, snapshot),
    }
    return render(request, "finetune_site/snapshot_models.html", context)
