"""The native API's answer to: which models were trained on this?"""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest
from ninja import Router, Schema

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor
from datasets_app.queries.rows import full_rows, visible
from datasets_app.views.ready import ready_dataset
from datasets_app.views.snapshot import snapshot_of
from finetune_engine.errors import UserError
from finetune_site import provenance
from jobs_app.models import TrainedModel

router = Router(tags=["Data"])


class ModelOut(Schema):
    """A trained model. ``model`` is the name to call it by."""

    id: str
    name: str
    model: str
    trained_at: datetime


class RowUseOut(Schema):
    """A snapshot that holds the row. ``learned_from`` is true for the split ``train`` alone; ``same_text`` is false
    when the row was edited since, or masked when it was frozen."""

    snapshot: int
    split: str
    learned_from: bool
    same_text: bool
    models: list[ModelOut]


class RowUseList(Schema):
    """All uses, the newest snapshot first."""

    data: list[RowUseOut]
    next_cursor: str | None = None


class ModelList(Schema):
    """The models of one snapshot, newest first."""

    data: list[ModelOut]
    next_cursor: str | None = None


@router.get(
    "/datasets/{dataset_id}/examples/{row}/models",
    auth=key_auth(Act.VIEW),
    response=RowUseList,
    summary="Which models were trained on a row",
)
def row_models(request: HttpRequest, dataset_id: str, row: int) -> RowUseList:
    """The snapshots that hold the row, what it is used for in each, and their models."""
    actor: Actor = request.auth  # type: ignore[attr-defined]  # set by ninja
    dataset = ready_dataset(actor, dataset_id)
    found = visible(dataset).filter(row=row).first()
    if found is None:
        raise UserError("no_such_row", f"This dataset has no row {row}.", status=404)
    uses = provenance.row_uses(actor.project, dataset, full_rows(dataset, [found])[0])
    return RowUseList(
        data=[
            RowUseOut(
                snapshot=use.frozen.snapshot.number,
                split=use.frozen.split,
                learned_from=use.is_learned,
                same_text=use.frozen.is_same_text,
                models=[_model_out(model) for model in use.models],
            )
            for use in uses
        ]
    )


@router.get(
    "/datasets/{dataset_id}/snapshots/{number}/models",
    auth=key_auth(Act.VIEW),
    response=ModelList,
    summary="Which models were trained on a snapshot",
)
def snapshot_models(request: HttpRequest, dataset_id: str, number: int) -> ModelList:
    """The models, newest first."""
    actor: Actor = request.auth  # type: ignore[attr-defined]  # set by ninja
    snapshot = snapshot_of(actor, dataset_id, number)
    return ModelList(data=[_model_out(model) for model in provenance.snapshot_models(actor.project, snapshot)])


def _model_out(model: TrainedModel) -> ModelOut:
    return ModelOut(id=model.pk, name=model.name, model=model.api_name, trained_at=model.created_at)
