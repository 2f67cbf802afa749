"""The native API of datasets: the JSON twin of the data pages."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from ninja import File, Form, Router, Status
from ninja.files import UploadedFile

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor
from datasets_app import operations, queries
from datasets_app.api_schemas import (
    Accepted,
    DatasetList,
    DatasetOut,
    ExampleChange,
    ExampleList,
    ExampleOut,
    FindingChange,
    dataset_out,
    example_out,
)
from datasets_app.api_uploads import given_mapping, given_upload
from datasets_app.choices import DatasetState, TaskType
from datasets_app.models import Dataset, Example
from datasets_app.queries.rows import WIDE_WINDOW, RowFilters, full_rows, visible
from datasets_app.views.detail import dataset_of
from datasets_app.views.rows import rejected_csv
from finetune_engine.errors import UserError
from web_kit.pagination import paginate

router = Router(tags=["Data"])


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.auth  # type: ignore[attr-defined]  # set by ninja
    return actor


def _key_of(request: HttpRequest) -> str | None:
    return (request.headers.get("Idempotency-Key") or "")[:200] or None


def _ready(actor: Actor, dataset_id: str) -> Dataset:
    dataset = dataset_of(actor, dataset_id)
    if dataset.state != DatasetState.READY:
        raise UserError("dataset_not_ready", "The rows can be read once the dataset is ready.", status=409)
    return dataset


def _row(dataset: Dataset, row: int) -> Example:
    found = visible(dataset).filter(row=row).first()
    if found is None:
        raise UserError("no_such_row", f"This dataset has no row {row}.", status=404)
    return found


@router.post("/datasets", auth=key_auth(Act.TRAIN), response={202: Accepted}, summary="Upload a file and check it")
def create_dataset(
    request: HttpRequest,
    file: File[UploadedFile | None] = None,
    file_id: Form[str] = "",
    url: Form[str] = "",
    name: Form[str] = "",
    format: Form[str] = "auto",
    mapping: Form[str] = "",
    task_type: Form[str] = TaskType.AUTO,
) -> Status[Accepted]:
    """Begins an import and answers at once; read the dataset until ``status`` is ``ready`` or ``failed``.

    The file is sent as ``file``, or was uploaded before (``file_id``), or is fetched from ``url``. ``mapping`` is a JSON
    object that names columns, for example ``{"prompt": "question", "completion": "answer"}``.
    """
    actor = _actor(request)
    columns = given_mapping(mapping)
    if first := queries.dataset_with_key(actor.project, _key_of(request)):
        return Status(202, Accepted(id=first.pk, status=first.state))
    dataset = operations.create_dataset(
        actor=actor,
        upload=given_upload(actor, file, file_id, url),
        name=name,
        format=format or "auto",
        mapping=columns,
        task_type=task_type or "auto",
        idempotency_key=_key_of(request),
    )
    return Status(202, Accepted(id=dataset.pk, status=dataset.state))


@router.get("/datasets", auth=key_auth(Act.VIEW), response=DatasetList, summary="All datasets, newest first")
def list_datasets(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> DatasetList:
    """One page; go on with ``next_cursor``."""
    page = paginate(queries.datasets_of(_actor(request).project), limit=limit, cursor=cursor)
    return DatasetList(data=[dataset_out(dataset) for dataset in page.items], next_cursor=page.next_cursor)


@router.get("/datasets/{dataset_id}", auth=key_auth(Act.VIEW), response=DatasetOut, summary="One dataset")
def get_dataset(request: HttpRequest, dataset_id: str) -> DatasetOut:
    """Its state, counts, findings and statistics; a failed one has ``error`` with the place of the mistake."""
    return dataset_out(dataset_of(_actor(request), dataset_id))


@router.delete("/datasets/{dataset_id}", auth=key_auth(Act.OWN), response={204: None}, summary="Delete a dataset")
def delete_dataset(request: HttpRequest, dataset_id: str) -> Status[None]:
    """Removes its rows, its snapshots and its file."""
    actor = _actor(request)
    operations.delete_dataset(actor=actor, dataset=dataset_of(actor, dataset_id))
    return Status(204, None)


@router.get("/datasets/{dataset_id}/examples", auth=key_auth(Act.VIEW), response=ExampleList, summary="Rows")
def list_examples(
    request: HttpRequest,
    dataset_id: str,
    cursor: str = "",
    limit: int = 50,
    status: str = "",
    code: str = "",
    split: str = "",
    q: str = "",
    label: str = "",
) -> ExampleList:
    """Rows in the order of the file. Several filters, or a search, may give a short page with a cursor: go on with it."""
    dataset = _ready(_actor(request), dataset_id)
    filters = RowFilters.checked(status=status, code=code, split=split, q=q, label=label)
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 12):
        raise UserError("bad_cursor", "This cursor does not belong to this list.", field="cursor")
    if limit < 1:
        raise UserError("bad_limit", "The limit must be at least 1.", field="limit")
    page = queries.example_rows(dataset, int(cursor or 0), filters, limit=limit, window=WIDE_WINDOW)
    following = str(page.next_cursor) if page.next_cursor is not None else None
    return ExampleList(data=[example_out(row) for row in full_rows(dataset, page.items)], next_cursor=following)


@router.get("/datasets/{dataset_id}/examples/{row}", auth=key_auth(Act.VIEW), response=ExampleOut, summary="One row")
def get_example(request: HttpRequest, dataset_id: str, row: int) -> ExampleOut:
    """The row in full. Its id is its number in the file."""
    dataset = _ready(_actor(request), dataset_id)
    return example_out(full_rows(dataset, [_row(dataset, row)])[0])


@router.patch(
    "/datasets/{dataset_id}/examples/{row}", auth=key_auth(Act.REVIEW), response=ExampleOut, summary="Decide on a row"
)
def change_example(request: HttpRequest, dataset_id: str, row: int, change: ExampleChange) -> ExampleOut:
    """Accept, reject, edit (which accepts; the original is kept) or undo."""
    actor = _actor(request)
    dataset = _ready(actor, dataset_id)
    example = _row(dataset, row)
    if change.action == "edit":
        if change.messages is None and change.prompt is None and change.answer is None and change.label is None:
            raise UserError("nothing_to_edit", "An edit needs messages, prompt, answer or label.", field="messages")
        answer = change.answer if change.answer is not None else change.label
        operations.edit_example(
            actor=actor, dataset=dataset, example=example, messages=change.messages, prompt=change.prompt, answer=answer
        )
    elif change.action == "undo":
        operations.undo_decision(actor=actor, dataset=dataset, example=example)
    else:
        operations.decide_example(actor=actor, dataset=dataset, example=example, action=change.action)
    return example_out(full_rows(dataset, [example])[0])


@router.post(
    "/datasets/{dataset_id}/findings/{code}", auth=key_auth(Act.REVIEW), summary="Decide on all rows of a finding"
)
def change_finding(request: HttpRequest, dataset_id: str, code: str, change: FindingChange) -> dict[str, int]:
    """Accepts or rejects every undecided row with this finding; answers how many changed."""
    actor = _actor(request)
    dataset = _ready(actor, dataset_id)
    filters = RowFilters.checked(status=change.status)
    moved = operations.decide_finding(
        actor=actor, dataset=dataset, code=code, action=change.action, status=filters.status
    )
    return {"changed": moved}


@router.get("/datasets/{dataset_id}/rejected.csv", auth=key_auth(Act.VIEW), summary="Rejected rows with their reasons")
def download_rejected(request: HttpRequest, dataset_id: str) -> HttpResponseBase:
    """CSV; cells that a spreadsheet would take for a formula begin with an apostrophe."""
    actor = _actor(request)
    dataset = _ready(actor, dataset_id)
    operations.record_download(actor=actor, act="dataset.download_rejected", subject=f"dataset {dataset.pk}")
    return rejected_csv(request, dataset)
