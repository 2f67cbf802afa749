"""Reads for pages, the API and the apps above."""

from datasets_app.queries.cards import (
    DatasetCard,
    StatusTile,
    dataset_card,
    dataset_with_key,
    datasets_of,
    finding_kinds,
)
from datasets_app.queries.files import file_object, same_upload, uploads_of
from datasets_app.queries.rows import (
    ExampleRow,
    RowFilters,
    RowPage,
    example_rows,
    findings_of,
    neighbours,
    rejected_rows,
    rows_with_code,
)
from datasets_app.queries.snapshots import (
    latest_snapshot,
    previous_snapshot,
    ready_snapshots,
    snapshot_card,
    snapshot_jsonl,
    snapshot_parquet,
    snapshots_of,
    snapshots_of_dataset,
)

__all__ = [
    "DatasetCard",
    "ExampleRow",
    "RowFilters",
    "RowPage",
    "StatusTile",
    "dataset_card",
    "dataset_with_key",
    "datasets_of",
    "example_rows",
    "file_object",
    "finding_kinds",
    "findings_of",
    "latest_snapshot",
    "neighbours",
    "previous_snapshot",
    "ready_snapshots",
    "rejected_rows",
    "rows_with_code",
    "same_upload",
    "snapshot_card",
    "snapshot_jsonl",
    "snapshot_parquet",
    "snapshots_of",
    "snapshots_of_dataset",
    "uploads_of",
]
