"""A snapshot: the examples that stay in, divided for good, with a hash that says which ones they are."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from finetune_engine.data.canonical import normalised, word_counts
from finetune_engine.data.chunks import as_arrow
from finetune_engine.data.report import write_json
from finetune_engine.data.snapshot_index import COMPARED_ROWS, Index
from finetune_engine.data.snapshot_rows import FinalRows
from finetune_engine.data.snapshot_spec import SnapshotSpec, read_spec
from finetune_engine.data.splitting import SPLITS
from finetune_engine.data.stats import SplitLengths, Statistics, step_for
from finetune_engine.errors import UserError
from finetune_engine.ports import Run, Stopped

__all__ = ["SnapshotSpec", "make_snapshot", "read_spec"]

_GROUP_ROWS = 1_000
_TEXTS = ("split", "messages", "prompt", "answer", "label", "metadata", "content_hash", "rejected")
_OTHERS = (("desirable", pa.bool_()), ("source", pa.int32()), ("source_row", pa.int64()))
_SCHEMA = pa.schema([("row", pa.int64()), *((name, pa.string()) for name in _TEXTS), *_OTHERS])
_HASHED = ("row", "split", "label", "messages", "metadata", "rejected", "desirable")


def make_snapshot(spec: SnapshotSpec, out: Path, run: Run) -> dict[str, Any]:
    """Write ``snapshot.parquet`` and ``manifest.json`` to ``out``; returns the manifest.

    UserError ``no_examples`` or ``too_few_examples``; Stopped when told to stop.
    """
    aside = out / ".rows"
    aside.mkdir(parents=True, exist_ok=True)
    try:
        manifest = _make(spec, FinalRows(spec, aside), out, run)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    write_json(out / "manifest.json", manifest)
    run.emit("result", **manifest)
    return manifest


def _make(spec: SnapshotSpec, rows: FinalRows, out: Path, run: Run) -> dict[str, Any]:
    run.emit("phase", phase="validating")
    index = Index(spec, keeps_texts=_stored_rows(spec) <= COMPARED_ROWS)
    for frame in rows:
        index.add(frame)
        _boundary(run)
    run.emit("phase", phase="comparing rows")
    if not index.finish().count:
        raise UserError(
            "no_examples",
            "This dataset has no usable example. Accept rows in the review, or add examples, then try again.",
        )
    splits = index.divide()
    _refuse_empty(spec, splits)
    _boundary(run)
    run.emit("phase", phase="writing")
    manifest = _write(spec, rows, splits, out, run)
    return manifest | {"leakage": index.leakage(splits), "personal": rows.personal.as_dict()}


def _boundary(run: Run) -> None:
    if (action := run.boundary()) != "go":
        raise Stopped(action)


def _stored_rows(spec: SnapshotSpec) -> int:
    return sum(pq.read_metadata(chunk).num_rows for chunk in spec.chunks if chunk.is_file())


def _refuse_empty(spec: SnapshotSpec, splits: npt.NDArray[np.int8]) -> None:
    for place, name in enumerate(SPLITS):
        if spec.split.get(name, 0) > 0 and not (splits == place).any():
            rows = f"{len(splits)} usable row{'s' if len(splits) != 1 else ''}"
            raise UserError(
                "too_few_examples",
                f"With {rows} the {name} part would be empty. Add examples, or set its share to 0.",
                field="split",
            )


def _write(spec: SnapshotSpec, rows: FinalRows, splits: npt.NDArray[np.int8], out: Path, run: Run) -> dict[str, Any]:
    """Stream the rows again, now with their split, and count and hash them on the way."""
    names = pl.Series(SPLITS)
    digest = hashlib.sha256()
    statistics = Statistics(every=step_for(len(splits)))
    lengths = SplitLengths()
    labels: dict[str, Counter[str]] = {name: Counter() for name in SPLITS}
    partial = out / "snapshot.partial"
    done = 0
    with pq.ParquetWriter(partial, _SCHEMA, compression="zstd", compression_level=1) as writer:
        for frame in rows:
            part = names.gather(splits[done : done + frame.height].astype(np.uint32)).alias("split")
            frame = frame.with_columns(part)
            digest.update(hashed(frame))
            writer.write_table(as_arrow(frame.select(_SCHEMA.names), _SCHEMA), row_group_size=_GROUP_ROWS)
            words = (word_counts(normalised(frame[n])).alias(f"{n}_words") for n in ("prompt", "answer"))
            turns = pl.col("messages").str.count_matches('"role":', literal=True).cast(pl.Int32).alias("turns")
            frame = frame.with_columns(*words, turns)
            statistics.add(frame)
            lengths.add(frame, splits[done : done + frame.height].astype(np.uint8))
            for split, label, count in frame.drop_nulls("label").group_by("split", "label").len().iter_rows():
                labels[split][label] += count
            done += frame.height
            run.emit("progress", done=done, total=len(splits), unit="rows")
            _boundary(run)
    os.replace(partial, out / "snapshot.parquet")
    counts = {name: int((splits == place).sum()) for place, name in enumerate(SPLITS)}
    sizes = {"train_size": counts["train"], "val_size": counts["validation"], "test_size": counts["test"]}
    return {
        "sha256": digest.hexdigest(),
        "counts": counts,
        "labels": {name: dict(sorted(c.items(), key=lambda item: (-item[1], item[0]))) for name, c in labels.items()},
        "statistics": statistics.as_dict() | sizes | {"splits": lengths.as_dict(SPLITS)},
        "seed": spec.seed,
        "split": spec.split,
        "stratify_by": spec.stratify_by,
        "group_by": spec.group_by,
        "task_type": spec.task_type,
        "pii": spec.pii,
    }


def hashed(frame: pl.DataFrame) -> bytes:
    """What the hash of a snapshot is made of: one line per row, JSON with fixed names in a fixed order, UTF-8."""
    return frame.select(_HASHED).write_ndjson().encode()
