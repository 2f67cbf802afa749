"""Read a frozen snapshot and encode it: the rows to learn from and the rows to judge by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_engine.errors import EngineError, UserError
from finetune_engine.train.local.encode import AnswerTooLong, Encoded
from finetune_engine.train.spec import SnapshotRef

READ_ROWS = 2048
COLUMNS = ("row", "split", "messages", "rejected", "desirable")


@dataclass(frozen=True)
class SnapshotFacts:
    """What the run record keeps of a snapshot: its hash, and rows and a hash of row numbers for each split."""

    sha256: str | None
    counts: dict[str, int]
    row_ids_sha256: dict[str, str]
    seed: int | None


@dataclass(frozen=True)
class Examples:
    """Encoded rows of one split, of the method's kind. ``too_long`` rows were left out, ``shortened`` ones lost part of
    their input; ``longest`` is the longest text in tokens (0 without rows)."""

    rows: list[Any]
    too_long: int
    shortened: int
    unknown_tokens: int
    texts: list[list[dict[str, Any]]]
    longest: int


@dataclass(frozen=True)
class SnapshotRow:
    """One frozen example. ``rejected`` are the messages of a worse answer ([] where there is none); ``wanted`` says
    whether people want the answer (None: nobody said)."""

    number: int
    split: str
    messages: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    wanted: bool | None


def read_snapshot(ref: SnapshotRef) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
    """``(split, row, messages)`` of each row, in file order. Raises as ``read_rows``."""
    for row in read_rows(ref):
        yield row.split, row.number, row.messages


def read_rows(ref: SnapshotRef) -> Iterator[SnapshotRow]:
    """Every row, in file order. Raises EngineError ``storage_unreachable`` and UserError ``snapshot_broken``."""
    import pyarrow
    import pyarrow.parquet

    path = Path(ref.path)
    if not path.is_file():
        raise EngineError("storage_unreachable", f"The frozen dataset {path.name} is not there.", {"path": str(path)})
    try:
        file = pyarrow.parquet.ParquetFile(path)
        there = [name for name in COLUMNS if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=READ_ROWS, columns=there):
            for row in batch.to_pylist():
                worse = json.loads(row["rejected"]) if row.get("rejected") else []
                yield SnapshotRow(row["row"], row["split"], json.loads(row["messages"]), worse, row.get("desirable"))
    except (pyarrow.ArrowException, ValueError, KeyError) as problem:
        raise UserError(
            "snapshot_broken", f"The frozen dataset cannot be read: {problem}", field="snapshot"
        ) from problem


def check_snapshot(ref: SnapshotRef) -> SnapshotFacts:
    """Count and identify the splits; compare the hash with the manifest beside the file, where there is one.

    Raises UserError ``snapshot_changed`` when the hashes differ.
    """
    beside = Path(ref.path).with_name("manifest.json")
    manifest = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    if ref.sha256 and manifest.get("sha256") and manifest["sha256"] != ref.sha256:
        raise UserError(
            "snapshot_changed",
            "The dataset on disk is not the one that was frozen for this job. Freeze it again and start a new job.",
            field="snapshot",
        )
    counts: dict[str, int] = {}
    hashes: dict[str, Any] = {}
    for split, row, _ in read_snapshot(ref):
        counts[split] = counts.get(split, 0) + 1
        hashes.setdefault(split, hashlib.sha256()).update(f"{row}\n".encode())
    return SnapshotFacts(
        sha256=ref.sha256 or manifest.get("sha256"),
        counts=counts,
        row_ids_sha256={split: value.hexdigest() for split, value in hashes.items()},
        seed=manifest.get("seed"),
    )


def encode_split(
    encode: Callable[[SnapshotRow], Any],
    sequences: Callable[[Any], Sequence[Encoded]],
    ref: SnapshotRef,
    split: str | None,
    *,
    unknown_id: int | None = None,
    between: Callable[[int], None] = lambda done: None,
    keep_texts: int = 0,
) -> Examples:
    """Encode every row of ``split`` (None: every row there is); ``between`` gets the number done every now and then.

    ``encode`` makes ids of a row, ``sequences`` are the texts in them. The first ``keep_texts`` conversations are kept
    as they are, for samples. Raises UserError for a row that does not fit the model or the method (it is named).
    """
    rows: list[Any] = []
    texts: list[list[dict[str, Any]]] = []
    too_long = shortened = unknown = longest = 0
    for row in read_rows(ref):
        if split is not None and row.split != split:
            continue
        try:
            encoded = encode(row)
        except AnswerTooLong:
            too_long += 1
            continue
        except UserError as problem:
            raise UserError(
                problem.code, f"Row {row.number}: {problem.sentence}", problem.field, reason=problem.reason
            ) from problem
        rows.append(encoded)
        parts = sequences(encoded)
        longest = max(longest, *(len(part.input_ids) for part in parts))
        shortened += any(part.shortened for part in parts)
        unknown += sum(part.input_ids.count(unknown_id) for part in parts) if unknown_id is not None else 0
        if len(texts) < keep_texts:
            texts.append(row.messages)
        if len(rows) % 500 == 0:
            between(len(rows))
    return Examples(rows, too_long, shortened, unknown, texts, longest)
