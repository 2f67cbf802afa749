"""Read a frozen snapshot and encode it: the rows to learn from and the rows to judge by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_engine.errors import EngineError, UserError
from finetune_engine.train.local.encode import AnswerTooLong, Encoded, encode_chat
from finetune_engine.train.local.load import LoadedModel
from finetune_engine.train.spec import SnapshotRef

READ_ROWS = 2048


@dataclass(frozen=True)
class SnapshotFacts:
    """What the run record keeps of a snapshot: its hash, and rows and a hash of row numbers for each split."""

    sha256: str | None
    counts: dict[str, int]
    row_ids_sha256: dict[str, str]
    seed: int | None


@dataclass(frozen=True)
class Examples:
    """Encoded rows of one split. ``too_long`` rows were left out, ``shortened`` ones lost part of their input."""

    rows: list[Encoded]
    too_long: int
    shortened: int
    unknown_tokens: int
    texts: list[list[dict[str, Any]]]

    @property
    def longest(self) -> int:
        """Tokens of the longest row (0 without rows)."""
        return max((len(row.input_ids) for row in self.rows), default=0)


def read_snapshot(ref: SnapshotRef) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
    """``(split, row, messages)`` of each row, in file order. Raises UserError ``snapshot_missing``/``snapshot_broken``."""
    import pyarrow
    import pyarrow.parquet

    path = Path(ref.path)
    if not path.is_file():
        raise EngineError("storage_unreachable", f"The frozen dataset {path.name} is not there.", {"path": str(path)})
    try:
        file = pyarrow.parquet.ParquetFile(path)
        for batch in file.iter_batches(batch_size=READ_ROWS, columns=["row", "split", "messages"]):
            columns = (batch.column(name).to_pylist() for name in ("split", "row", "messages"))
            for split, row, messages in zip(*columns, strict=True):
                yield split, row, json.loads(messages)
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
    loaded: LoadedModel,
    ref: SnapshotRef,
    split: str,
    *,
    max_length: int,
    learn_prompt: bool,
    between: Callable[[int], None] = lambda done: None,
    keep_texts: int = 0,
) -> Examples:
    """Encode every row of ``split``; ``between`` gets the number done every now and then.

    The first ``keep_texts`` conversations are kept as they are, for samples. Raises UserError for a template
    that does not fit (the row is named).
    """
    rows: list[Encoded] = []
    texts: list[list[dict[str, Any]]] = []
    too_long = shortened = unknown = 0
    unknown_id = loaded.tokenizer.unk_token_id
    for name, number, messages in read_snapshot(ref):
        if name != split:
            continue
        try:
            row = encode_chat(loaded, messages, max_length=max_length, learn_prompt=learn_prompt)
        except AnswerTooLong:
            too_long += 1
            continue
        except UserError as problem:
            raise UserError(
                problem.code, f"Row {number}: {problem.sentence}", problem.field, reason=problem.reason
            ) from problem
        rows.append(row)
        shortened += row.shortened
        unknown += row.input_ids.count(unknown_id) if unknown_id is not None else 0
        if len(texts) < keep_texts:
            texts.append(messages)
        if len(rows) % 500 == 0:
            between(len(rows))
    return Examples(rows, too_long, shortened, unknown, texts)
