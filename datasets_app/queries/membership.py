"""Which snapshots hold a row."""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datasets_app.choices import SnapshotState
from datasets_app.models import Dataset, Snapshot
from datasets_app.queries.rows import ExampleRow
from datasets_app.queries.snapshots import snapshot_parquet

MOST_SNAPSHOTS = 50  # the newest; each is one small read
SAME_WORDS = 0.5  # share of the words by which a changed row is still known as the same
_COLUMNS = ["row", "split", "messages", "content_hash"]
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class FrozenRow:
    """A row as a snapshot holds it. ``is_same_text`` is False when it was edited since, or masked when frozen."""

    snapshot: Snapshot
    row: int
    split: str
    is_same_text: bool


def snapshots_with_row(dataset: Dataset, row: ExampleRow) -> list[FrozenRow]:
    """The dataset's ready snapshots that hold this row, newest first.

    It is looked for by its number and recognised by its words; where the snapshot has no such number, or numbers have
    moved because a file was taken out, by the hash of its text. ``row`` then says under which number it is there.
    """
    ready = Snapshot.objects.filter(dataset=dataset, state=SnapshotState.READY).select_related("dataset")
    moved = dataset.sources.filter(removed_at__isnull=False).exists()
    found = (_held(snapshot, row, moved) for snapshot in ready.order_by("-number")[:MOST_SNAPSHOTS])
    return [one for one in found if one is not None]


def _held(snapshot: Snapshot, row: ExampleRow, moved: bool) -> FrozenRow | None:
    record = _by_number(snapshot, row.example.row)
    if record is None or (moved and record["content_hash"] != row.example.content_hash):
        record = _by_hash(snapshot, row.example.content_hash) or record
    if record is None or not _is_like(record, row):
        return None
    same = bool(json.loads(record["messages"]) == row.messages)
    return FrozenRow(snapshot, record["row"], record["split"], same)


def _by_number(snapshot: Snapshot, number: int) -> dict[str, Any] | None:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(snapshot_parquet(snapshot)) as file:
        for group in groups_with(file, [number]):
            table = file.read_row_group(group, columns=_COLUMNS, use_threads=False)
            for record in table.filter(pc.equal(table["row"], number)).to_pylist():
                return dict(record)
    return None


def _by_hash(snapshot: Snapshot, content_hash: str) -> dict[str, Any] | None:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not content_hash:
        return None
    with pq.ParquetFile(snapshot_parquet(snapshot)) as file:
        for group in range(file.metadata.num_row_groups):
            hashes = file.read_row_group(group, columns=["content_hash"], use_threads=False)["content_hash"]
            if (place := pc.index(hashes, content_hash).as_py()) >= 0:
                table = file.read_row_group(group, columns=_COLUMNS, use_threads=False)
                return dict(table.slice(place, 1).to_pylist()[0])
    return None


def _is_like(record: dict[str, Any], row: ExampleRow) -> bool:
    if record["content_hash"] == row.example.content_hash:
        return True
    then, now = _words(json.loads(record["messages"])), _words(row.messages) | _words(row.text.messages)
    return len(then & now) >= SAME_WORDS * max(1, len(then))


def _words(messages: Sequence[dict[str, Any]]) -> set[str]:
    return {word for m in messages for word in _WORDS.findall(str(m.get("content") or "").lower())}


def groups_with(file: Any, numbers: Sequence[int]) -> list[int]:
    """The row groups of an open Parquet file that can hold these ``row`` numbers, by the bounds that it keeps."""
    place = file.schema_arrow.names.index("row")
    ordered = sorted(numbers)
    groups = []
    for group in range(file.metadata.num_row_groups):
        bounds = file.metadata.row_group(group).column(place).statistics
        if bounds is None or not bounds.has_min_max or _any_between(ordered, bounds.min, bounds.max):
            groups.append(group)
    return groups


def _any_between(ordered: Sequence[int], low: int, high: int) -> bool:
    at = bisect.bisect_left(ordered, low)
    return at < len(ordered) and ordered[at] <= high
