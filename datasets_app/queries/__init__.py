"""Reads for pages, the API and the apps above."""

from datasets_app.queries.cards import (
    DatasetCard,
    StatusTile,
    dataset_card,
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
    earlier_snapshots,
    is_current,
    latest_snapshot,
    previous_snapshot,
    ready_snapshots,
    snapshot_card,
    snapshot_parquet,
    snapshots_of,
    snapshots_of_dataset,
)
from datasets_app.queries.sources import (
    SourceCard,
    dataset_with_key,
    failed_check,
    import_with_key,
    running_check,
    source_cards,
)

__all__ = [
    "DatasetCard",
    "ExampleRow",
    "RowFilters",
    "RowPage",
    "SourceCard",
    "StatusTile",
    "dataset_card",
    "dataset_with_key",
    "datasets_of",
    "earlier_snapshots",
    "example_rows",
    "failed_check",
    "file_object",
    "finding_kinds",
    "findings_of",
    "import_with_key",
    "is_current",
    "latest_snapshot",
    "neighbours",
    "previous_snapshot",
    "ready_snapshots",
    "rejected_rows",
    "rows_with_code",
    "running_check",
    "same_upload",
    "snapshot_card",
    "snapshot_parquet",
    "snapshots_of",
    "snapshots_of_dataset",
    "source_cards",
    "uploads_of",
]
