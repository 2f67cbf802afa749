"""Everything that changes uploads, datasets, rows and snapshots."""

from datasets_app.operations.decisions import decide_example, decide_finding, edit_example, undo_decision
from datasets_app.operations.deletion import delete_dataset, delete_upload
from datasets_app.operations.imports import create_dataset, create_sample_dataset
from datasets_app.operations.snapshots import create_snapshot
from datasets_app.operations.uploads import store_result_file, store_upload

__all__ = [
    "create_dataset",
    "create_sample_dataset",
    "create_snapshot",
    "decide_example",
    "decide_finding",
    "delete_dataset",
    "delete_upload",
    "edit_example",
    "store_result_file",
    "store_upload",
    "undo_decision",
]
