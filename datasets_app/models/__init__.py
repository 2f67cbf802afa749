"""What the data step stores: ``data`` files, rows and snapshots; ``arrival`` files in parts and a project's habits;
``review`` what people do with rows."""

from datasets_app.models.arrival import DataPolicy, PendingUpload, RememberedMapping, UploadPart
from datasets_app.models.data import (
    ANSWER_HEAD_LENGTH,
    PROMPT_HEAD_LENGTH,
    Dataset,
    Example,
    Finding,
    Snapshot,
    Source,
    Upload,
)
from datasets_app.models.review import BulkAct, Draft, ReviewAct, ReviewTally, RowLock

__all__ = [
    "ANSWER_HEAD_LENGTH",
    "PROMPT_HEAD_LENGTH",
    "BulkAct",
    "DataPolicy",
    "Dataset",
    "Draft",
    "Example",
    "Finding",
    "PendingUpload",
    "RememberedMapping",
    "ReviewAct",
    "ReviewTally",
    "RowLock",
    "Snapshot",
    "Source",
    "Upload",
    "UploadPart",
]
