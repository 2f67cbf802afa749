"""Reads about frozen snapshots, for this app's pages and for everything that trains or evaluates on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts_app.models import Project
from datasets_app.choices import SPLIT_LABELS, SPLITS, SnapshotState
from datasets_app.models import Dataset, Snapshot
from finetune_engine.errors import UserError
from web_kit.wording import number_words
from work_kit.files import local_copy


@dataclass(frozen=True)
class SplitPart:
    """One split: how many rows, and how many per label (only for classifications)."""

    name: str
    label: str
    count: int
    share: float
    labels: dict[str, int]


@dataclass(frozen=True)
class LabelLine:
    """One label's rows in each split, in the order of ``SPLITS``."""

    label: str
    counts: list[int]
    total: int


@dataclass(frozen=True)
class SnapshotCard:
    """A snapshot in plain words."""

    snapshot: Snapshot
    sentence: str
    parts: list[SplitPart]
    label_lines: list[LabelLine]
    leaks: int
    error: dict[str, Any]

    @property
    def is_ready(self) -> bool:
        """Whether it can be trained on."""
        return self.snapshot.state == SnapshotState.READY


def snapshot_card(snapshot: Snapshot) -> SnapshotCard:
    """The snapshot for its page."""
    total = snapshot.total
    parts = [
        SplitPart(
            name=name,
            label=str(SPLIT_LABELS[name]),
            count=int(snapshot.counts.get(name, 0)),
            share=int(snapshot.counts.get(name, 0)) / (total or 1),
            labels=snapshot.labels.get(name) or {},
        )
        for name in SPLITS
    ]
    names = sorted({label for part in parts for label in part.labels})
    lines = [LabelLine(n, [p.labels.get(n, 0) for p in parts], sum(p.labels.get(n, 0) for p in parts)) for n in names]
    leaks = sum(int(n) for n in snapshot.leakage.values() if isinstance(n, int))
    return SnapshotCard(
        snapshot, _sentence(snapshot, parts, leaks), parts, sorted(lines, key=lambda x: -x.total), leaks, snapshot.error
    )


def _sentence(snapshot: Snapshot, parts: list[SplitPart], leaks: int) -> str:
    if snapshot.state == SnapshotState.PROCESSING:
        return _("The rows are being frozen.")
    if snapshot.state == SnapshotState.DELETED:
        return _("The rows of this snapshot were deleted; only its record is left.")
    if snapshot.state == SnapshotState.FAILED:
        return str(snapshot.error.get("message") or _("This snapshot could not be made."))
    counts = {part.name: number_words(part.count) for part in parts}
    sentence = _(
        "%(train)s rows to learn from, %(validation)s to tell when to stop, and %(test)s kept back to judge the model."
    )
    if leaks == 0:
        return f"{sentence % counts} {_('No row occurs in two splits.')}"
    return f"{sentence % counts} {_('%(n)s rows occur in more than one split.') % {'n': leaks}}"


def snapshots_of(project: Project) -> QuerySet[Snapshot]:
    """The project's snapshots whose rows exist or are being made, newest first."""
    return (
        Snapshot.objects.filter(project=project, dataset__deleted_at=None)
        .exclude(state=SnapshotState.DELETED)
        .select_related("dataset", "job")
        .order_by("-id")
    )


def snapshots_of_dataset(dataset: Dataset) -> QuerySet[Snapshot]:
    """The dataset's snapshots, newest first."""
    return Snapshot.objects.filter(dataset=dataset).select_related("dataset", "job").order_by("-number")


def ready_snapshots(project: Project) -> QuerySet[Snapshot]:
    """Snapshots that can be trained on, newest first."""
    return snapshots_of(project).filter(state=SnapshotState.READY)


def latest_snapshot(dataset: Dataset) -> Snapshot | None:
    """The dataset's newest ready snapshot, None when there is none."""
    return snapshots_of_dataset(dataset).filter(state=SnapshotState.READY).first()


def previous_snapshot(snapshot: Snapshot) -> Snapshot | None:
    """The ready snapshot before this one, whose test rows stay test rows. None for the first."""
    return (
        Snapshot.objects.filter(dataset=snapshot.dataset_id, state=SnapshotState.READY, number__lt=snapshot.number)
        .order_by("-number")
        .first()
    )


def snapshot_parquet(snapshot: Snapshot) -> Path:
    """The snapshot's Parquet file on this machine. Raises UserError when it is not ready or was deleted."""
    if snapshot.state != SnapshotState.READY:
        raise UserError(
            "snapshot_not_ready",
            f"The snapshot {snapshot} has no rows: it is {SnapshotState(snapshot.state).label.lower()}.",
            status=409,
        )
    return local_copy(snapshot.storage_prefix) / "snapshot.parquet"


def snapshot_jsonl(snapshot: Snapshot, split: str = "") -> Iterator[bytes]:
    """The snapshot as JSON lines (``messages``, ``label``, ``split``, ``metadata``), all splits or one."""
    import pyarrow.parquet as pq

    columns = ["row", "split", "messages", "label", "metadata"]
    with pq.ParquetFile(snapshot_parquet(snapshot)) as file:
        for batch in file.iter_batches(1_000, columns=columns, use_threads=False):
            lines = [_json_line(record) for record in batch.to_pylist() if split in {"", record["split"]}]
            if lines:
                yield "".join(lines).encode("utf-8", "surrogatepass")


def _json_line(record: dict[str, Any]) -> str:
    line: dict[str, Any] = {"messages": json.loads(record["messages"]), "split": record["split"], "row": record["row"]}
    if record["label"] is not None:
        line["label"] = record["label"]
    if metadata := json.loads(record["metadata"] or "{}"):
        line["metadata"] = metadata
    return json.dumps(line, ensure_ascii=False) + "\n"
