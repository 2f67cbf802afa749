"""All datasets of a project."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from datasets_app import operations, queries
from finetune_engine.data.samples import SAMPLES
from web_kit.ids import new_id
from web_kit.pagination import paginate


@project_page({"GET": Act.VIEW})
def datasets(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The list, newest first."""
    page = paginate(queries.datasets_of(actor.project), limit=30, cursor=request.GET.get("cursor"))
    context = {
        "actor": actor,
        "page": page,
        "cards": [queries.dataset_card(dataset) for dataset in page.items],
        "may_upload": actor.may(Act.TRAIN),
        "samples": list(SAMPLES.values()),
        "idempotency_key": new_id(),
    }
    return render(request, "datasets_app/list.html", context)


@project_page({"POST": Act.TRAIN})
def sample(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Make a dataset from a sample."""
    key = request.POST.get("key") or "contract_clauses"
    made = operations.create_sample_dataset(
        actor=actor, key=key, idempotency_key=request.POST.get("idempotency_key") or None
    )
    return redirect("datasets:detail", actor.project.slug, made.pk)
