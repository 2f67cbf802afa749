"""Everything that changes uploads, datasets, rows and snapshots."""

from datasets_app.operations.bulk_acts import decide_finding, decide_rows, undo_bulk
from datasets_app.operations.candidates import Proposal, ProposedRow, propose_rows, withdraw_rows
from datasets_app.operations.decisions import decide_example, edit_example, undo_act, undo_decision
from datasets_app.operations.deletion import delete_dataset, delete_upload
from datasets_app.operations.downloads import record_download
from datasets_app.operations.imports import create_dataset, create_sample_dataset
from datasets_app.operations.pending import begin_upload, cancel_upload, complete_upload, store_part
from datasets_app.operations.rechecks import NewSource, append_file, recheck_dataset, remove_file, restore_file
from datasets_app.operations.review import (
    assign_rows,
    discard_draft,
    keep_row,
    release_row,
    save_draft,
    skip_example,
    take_next,
    take_row,
    unassign_rows,
    undo_last,
)
from datasets_app.operations.snapshots import create_snapshot
from datasets_app.operations.uploads import fetch_upload, store_result_file, store_upload

__all__ = [
    "NewSource",
    "Proposal",
    "ProposedRow",
    "append_file",
    "assign_rows",
    "begin_upload",
    "cancel_upload",
    "complete_upload",
    "create_dataset",
    "create_sample_dataset",
    "create_snapshot",
    "decide_example",
    "decide_finding",
    "decide_rows",
    "delete_dataset",
    "delete_upload",
    "discard_draft",
    "edit_example",
    "fetch_upload",
    "keep_row",
    "propose_rows",
    "recheck_dataset",
    "record_download",
    "release_row",
    "remove_file",
    "restore_file",
    "save_draft",
    "skip_example",
    "store_part",
    "store_result_file",
    "store_upload",
    "take_next",
    "take_row",
    "unassign_rows",
    "undo_act",
    "undo_bulk",
    "undo_decision",
    "undo_last",
    "withdraw_rows",
]
