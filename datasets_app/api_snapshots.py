"""The native API of frozen snapshots: the JSON twin of their pages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponseBase
from ninja import Field, Query, Router, Schema, Status
from pydantic import ConfigDict

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor
from datasets_app import operations, queries
from datasets_app.models import Snapshot
from datasets_app.queries.diff import DiffExample, SnapshotDiff, snapshot_diff
from datasets_app.views.detail import dataset_of
from datasets_app.views.snapshot import download_response, snapshot_of
from datasets_app.views.snapshots import earlier_one
from web_kit.pagination import paginate

router = Router(tags=["Data"])


class SnapshotIn(Schema):
    """How to divide the rows. A name that is not here is refused: no option is passed over in silence.

    ``group_by`` names a column, or is ``near_duplicates`` (which is done in any case). ``pii`` overrides the project's
    decisions on personal data for this snapshot: ``{"email": "mask" | "reject" | "keep", ...}``.
    """

    model_config = ConfigDict(extra="forbid")

    split: dict[str, float] | None = None
    seed: int = Field(42, ge=0, lt=2**31)
    stratify_by: str | None = "auto"
    group_by: str | None = None
    pii: dict[str, str] | None = None


class SnapshotOut(Schema):
    """A frozen snapshot. ``pii`` are the decisions it was frozen with, ``personal`` the rows that they changed."""

    id: str
    dataset: str
    number: int
    status: Literal["processing", "ready", "failed", "deleted"]
    created_at: datetime
    sha256: str | None
    counts: dict[str, int]
    labels: dict[str, dict[str, int]]
    statistics: dict[str, Any]
    leakage: dict[str, Any]
    split: dict[str, float]
    seed: int
    stratify_by: str | None
    group_by: str | None
    pii: dict[str, str]
    personal: dict[str, Any]
    task_type: str
    job: str | None
    error: dict[str, Any] | None


class SnapshotList(Schema):
    """One page of a dataset's snapshots."""

    data: list[SnapshotOut]
    next_cursor: str | None = None


class DiffExampleOut(Schema):
    """One row that differs. A side is null where the row is not in that snapshot."""

    row: int
    before: str | None
    after: str | None
    split_before: str | None
    split_after: str | None
    label_before: str | None
    label_after: str | None


class DiffOut(Schema):
    """What changed between two snapshots: counts by kind, and the first rows of each kind."""

    from_number: int
    to_number: int
    counts: dict[str, int]
    examples: dict[str, list[DiffExampleOut]]


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.auth  # type: ignore[attr-defined]  # set by ninja
    return actor


@router.post(
    "/datasets/{dataset_id}/snapshots",
    auth=key_auth(Act.TRAIN),
    response={202: SnapshotOut},
    summary="Freeze a snapshot",
)
def create_snapshot(request: HttpRequest, dataset_id: str, wanted: SnapshotIn | None = None) -> Status[SnapshotOut]:
    """Begins to freeze the accepted and flagged rows; read the snapshot until it is ``ready``."""
    actor = _actor(request)
    wanted = wanted or SnapshotIn.model_validate({})
    snapshot = operations.create_snapshot(
        actor=actor,
        dataset=dataset_of(actor, dataset_id),
        split=wanted.split,
        seed=wanted.seed,
        stratify_by=wanted.stratify_by,
        group_by=wanted.group_by,
        pii=wanted.pii,
        idempotency_key=(request.headers.get("Idempotency-Key") or "")[:200] or None,
    )
    return Status(202, snapshot_out(snapshot))


@router.get("/datasets/{dataset_id}/snapshots", auth=key_auth(Act.VIEW), response=SnapshotList, summary="Snapshots")
def list_snapshots(request: HttpRequest, dataset_id: str, cursor: str | None = None, limit: int = 50) -> SnapshotList:
    """One page, newest first; go on with ``next_cursor``."""
    rows = queries.snapshots_of_dataset(dataset_of(_actor(request), dataset_id))
    page = paginate(rows, order=("-number",), limit=limit, cursor=cursor)
    return SnapshotList(data=[snapshot_out(snapshot) for snapshot in page.items], next_cursor=page.next_cursor)


@router.get(
    "/datasets/{dataset_id}/snapshots/{number}", auth=key_auth(Act.VIEW), response=SnapshotOut, summary="One snapshot"
)
def get_snapshot(request: HttpRequest, dataset_id: str, number: int) -> SnapshotOut:
    """Its hash, counts, labels, statistics, leakage, and what was done about personal data."""
    return snapshot_out(snapshot_of(_actor(request), dataset_id, number))


@router.get(
    "/datasets/{dataset_id}/snapshots/{number}/diff",
    auth=key_auth(Act.VIEW),
    response=DiffOut,
    summary="What changed since an earlier snapshot",
)
def get_diff(
    request: HttpRequest, dataset_id: str, number: int, earlier: Annotated[str, Query(alias="from")] = ""
) -> DiffOut:
    """``?from=`` names the earlier snapshot; without it the one before. Rows are matched by text, then by number."""
    actor = _actor(request)
    snapshot = snapshot_of(actor, dataset_id, number)
    before = earlier_one(actor, snapshot, earlier)
    return diff_out(before, snapshot, snapshot_diff(before, snapshot))


@router.get(
    "/datasets/{dataset_id}/snapshots/{number}/download", auth=key_auth(Act.VIEW), summary="Download a snapshot"
)
def download_snapshot(
    request: HttpRequest, dataset_id: str, number: int, split: str = "", format: str = ""
) -> HttpResponseBase:
    """``format``: jsonl, openai, prompt_completion, alpaca, sharegpt, csv, xlsx or parquet; for preference pairs
    preference, preference_openai, kto or parquet. All splits, or one ``split``. CSV and XLSX are made safe to open in
    a spreadsheet; a format that cannot hold a row is refused."""
    actor = _actor(request)
    return download_response(request, actor, snapshot_of(actor, dataset_id, number), split=split, format=format)


def snapshot_out(snapshot: Snapshot) -> SnapshotOut:
    """The snapshot as JSON."""
    return SnapshotOut(
        id=snapshot.pk,
        dataset=snapshot.dataset_id,
        number=snapshot.number,
        status=snapshot.state,  # type: ignore[arg-type]  # the states are the four words
        created_at=snapshot.created_at,
        sha256=snapshot.sha256 or None,
        counts=snapshot.counts,
        labels=snapshot.labels,
        statistics=snapshot.statistics,
        leakage=snapshot.leakage,
        split=snapshot.split,
        seed=snapshot.seed,
        stratify_by=snapshot.stratify_by or None,
        group_by=snapshot.group_by or None,
        pii=snapshot.pii,
        personal=snapshot.personal,
        task_type=snapshot.task_type,
        job=snapshot.job_id,
        error=snapshot.error or None,
    )


def diff_out(before: Snapshot, after: Snapshot, diff: SnapshotDiff) -> DiffOut:
    """The difference as JSON."""
    examples = {kind: [_example_out(example) for example in found] for kind, found in diff.examples.items()}
    return DiffOut(from_number=before.number, to_number=after.number, counts=diff.counts, examples=examples)


def _example_out(example: DiffExample) -> DiffExampleOut:
    return DiffExampleOut(
        row=example.row,
        before=example.old_text or None,
        after=example.new_text or None,
        split_before=example.old_split or None,
        split_after=example.new_split or None,
        label_before=example.old_label or None,
        label_after=example.new_label or None,
    )
