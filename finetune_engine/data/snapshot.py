"""A snapshot: the examples that stay in, divided for good, with a hash that says which ones they are."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from finetune_engine.data.batches import WORDS, answer_of, content_hash, dump, normalised, prompt_of, setting_of
from finetune_engine.data.dedup import Clusters, hash64, near_pairs
from finetune_engine.data.snapshot_spec import SnapshotSpec, read_spec
from finetune_engine.data.splitting import SPLITS, Unit, assign
from finetune_engine.data.stats import Statistics
from finetune_engine.errors import UserError
from finetune_engine.ports import Run, Stopped

__all__ = ["SnapshotSpec", "make_snapshot", "read_spec"]

_GROUP_ROWS = 1_000
_BATCH_ROWS = 5_000
_READ = ["row", "messages", "prompt", "answer", "label", "metadata", "split", "status", "content_hash"]
_SCHEMA = pa.schema(
    [("row", pa.int64())]
    + [(n, pa.string()) for n in ("split", "messages", "prompt", "answer", "label", "metadata", "content_hash")]
)


def make_snapshot(spec: SnapshotSpec, out: Path, run: Run) -> dict[str, Any]:
    """Write ``snapshot.parquet`` and ``manifest.json`` to ``out``; returns the manifest.

    UserError ``no_examples`` or ``too_few_examples``; Stopped when told to stop.
    """
    out.mkdir(parents=True, exist_ok=True)
    run.emit("phase", phase="validating")
    overrides = _read_overrides(spec.overrides)
    index = _Index()
    for frame in _included(spec, overrides):
        index.add(frame, spec.group_by)
        _boundary(run)
    if not index.rows:
        raise UserError(
            "no_examples",
            "This dataset has no usable example. Accept rows in the review, or add examples, then try again.",
        )
    run.emit("phase", phase="comparing rows")
    pairs = index.near_pairs()
    splits = _divide(spec, index, pairs)
    _refuse_empty(spec, splits)
    _boundary(run)
    run.emit("phase", phase="writing")
    manifest = _write(spec, overrides, index, splits, out, run)
    manifest["leakage"] = index.leakage(splits, pairs)
    _write_json(out / "manifest.json", manifest)
    run.emit("result", **manifest)
    return manifest


def _boundary(run: Run) -> None:
    if (action := run.boundary()) != "go":
        raise Stopped(action)


def _read_overrides(path: Path | None) -> dict[int, dict[str, Any]]:
    """The last word of people on each row."""
    out: dict[int, dict[str, Any]] = {}
    if path is None:
        return out
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                change = orjson.loads(line)
                out.setdefault(int(change["row"]), {}).update(change)
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    "bad_spec", f"Line {number} of {path.name} is not a change to a row.", field="overrides"
                ) from error
    return out


def _included(spec: SnapshotSpec, overrides: dict[int, dict[str, Any]]) -> Iterator[pl.DataFrame]:
    """Rows that stay in, with people's changes applied, in order of row."""
    for chunk in sorted(spec.chunks, key=lambda path: path.name):
        if not chunk.is_file():
            raise UserError("bad_spec", f"There is no prepared file {chunk}.", field="chunks", reason="bad_config")
        with pq.ParquetFile(chunk) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=_READ):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                if overrides:
                    frame = _apply(frame, overrides, spec.task_type)
                frame = frame.filter(pl.col("status").is_in(["accepted", "flagged"]) & (pl.col("messages") != "[]"))
                if not frame.is_empty():
                    yield frame


def _apply(frame: pl.DataFrame, overrides: dict[int, dict[str, Any]], task_type: str) -> pl.DataFrame:
    touched = [row for row in frame["row"].to_list() if row in overrides]
    if not touched:
        return frame
    changed = [
        _changed(row, overrides[row["row"]], task_type)
        for row in frame.filter(pl.col("row").is_in(touched)).iter_rows(named=True)
    ]
    kept = frame.filter(~pl.col("row").is_in(touched))
    return pl.concat([kept, pl.DataFrame(changed, schema=frame.schema)]).sort("row")


def _changed(row: dict[str, Any], change: dict[str, Any], task_type: str) -> dict[str, Any]:
    """A row with one person's change: a status, new messages, or a new label (which is the answer)."""
    row = dict(row)
    row["status"] = change.get("status") or row["status"]
    messages = change.get("messages")
    if isinstance(messages, str):
        messages = json.loads(messages)
    if messages is None and "label" in change and task_type == "classification":
        messages = json.loads(row["messages"])
        if messages and change["label"] is not None:
            messages[-1]["content"] = change["label"]
    if "label" in change:
        row["label"] = change["label"]
    if messages is not None:
        row["messages"] = dump(messages) if messages else "[]"
        row["prompt"], row["answer"] = prompt_of(messages), answer_of(messages)
        if task_type == "classification" and "label" not in change:
            row["label"] = row["answer"]
        tools = json.loads(row["metadata"] or "{}").get("tools")
        setting = setting_of(messages) if len(messages) > 2 else ""
        if tools:
            setting = f"{setting}\ntools: {tools if isinstance(tools, str) else dump(tools)}"
        row["content_hash"] = content_hash(row["prompt"], row["answer"], setting)
    return row


def _shown_text(frame: pl.DataFrame) -> list[str]:
    """The normalised input of each row; the answer where there is no input."""
    prompt, answer = normalised(frame["prompt"]), normalised(frame["answer"])
    return [given or said for given, said in zip(prompt, answer, strict=True)]


class _Index:
    """The few things kept in memory about each included row."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.labels: list[str | None] = []
        self.splits: list[str | None] = []
        self.groups: list[str | None] = []
        self.hashes: list[str] = []
        self._prompts: list[str] = []
        self._prompt_keys: list[npt.NDArray[np.uint64]] = []

    def add(self, frame: pl.DataFrame, group_by: str | None) -> None:
        """Take in some rows."""
        texts = _shown_text(frame)
        self.rows += frame["row"].to_list()
        self.labels += frame["label"].to_list()
        self.splits += frame["split"].to_list()
        self.hashes += frame["content_hash"].to_list()
        self._prompts += texts
        self._prompt_keys.append(hash64(texts))
        if group_by is None:
            self.groups += [None] * frame.height
        else:
            values = (json.loads(text or "{}").get(group_by) for text in frame["metadata"].to_list())
            self.groups += [None if value is None else str(value) for value in values]

    def prompt_keys(self) -> npt.NDArray[np.uint64]:
        """A key of the normalised input (the text itself when there is no input) of each row."""
        return np.concatenate(self._prompt_keys)

    def near_pairs(self) -> list[tuple[int, int]]:
        """Indexes of rows with almost the same input, exact sameness left out."""
        keys = self.prompt_keys()
        _, first = np.unique(keys, return_index=True)
        found = near_pairs(np.sort(first), lambda part: [self._prompts[i] for i in part.tolist()])
        return [(a, b) for a, b, _ in found.pairs]

    def leakage(self, splits: list[str], pairs: list[tuple[int, int]]) -> dict[str, int]:
        """Validation and test rows whose input also occurs in train, exactly or almost."""
        keys = self.prompt_keys().tolist()
        in_train = {key for key, split in zip(keys, splits, strict=True) if split == "train"}
        exact = sum(1 for key, split in zip(keys, splits, strict=True) if split != "train" and key in in_train)
        held_out: set[int] = set()
        for a, b in pairs:
            if (splits[a] == "train") != (splits[b] == "train"):
                held_out.add(b if splits[a] == "train" else a)
        return {"exact": exact, "near": len(held_out)}


def _divide(spec: SnapshotSpec, index: _Index, pairs: list[tuple[int, int]]) -> list[str]:
    """A split for every row: frozen and uploaded ones first, the rest by clusters."""
    count = len(index.rows)
    fixed = _fixed(spec, index)
    clusters = Clusters(count)
    for a, b in pairs:
        clusters.join(a, b)
    for keys in (index.prompt_keys().tolist(), index.groups):
        seen: dict[Any, int] = {}
        for i, key in enumerate(keys):
            if key is not None:
                clusters.join(seen.setdefault(key, i), i)
    members: dict[int, list[int]] = defaultdict(list)
    for i in range(count):
        members[clusters.find(i)].append(i)
    splits = [""] * count
    units = []
    for cluster in members.values():
        loose = [i for i in cluster if i not in fixed]
        held = {fixed[i] for i in cluster if i in fixed}
        for i in cluster:
            if i in fixed:
                splits[i] = fixed[i]
        if held and loose:
            # A row like a held-out one must not be learnt from: the cluster follows its most protected member.
            home = next(name for name in ("test", "validation", "train") if name in held)
            for i in loose:
                splits[i] = home
        elif loose:
            units.append(Unit(tuple(loose), _stratum(spec, index, loose)))
    for i, name in assign(units, _shares_left(spec, fixed), spec.seed).items():
        splits[i] = name
    return splits


def _stratum(spec: SnapshotSpec, index: _Index, members: list[int]) -> str | None:
    if spec.stratify_by != "label":
        return None
    return Counter(index.labels[i] or "" for i in members).most_common(1)[0][0] or None


def _fixed(spec: SnapshotSpec, index: _Index) -> dict[int, str]:
    """Rows whose split is settled already: by the file they came in, or by an earlier snapshot."""
    wanted = {name for name in SPLITS if spec.split.get(name, 0) > 0}
    # A part that the file did not come with is taken from its train rows.
    settled = wanted if wanted <= set(index.splits) else wanted - {"train"}
    fixed = {i: name for i, name in enumerate(index.splits) if name in settled}
    if spec.frozen_test is not None:
        frozen = pl.read_parquet(spec.frozen_test, columns=["split", "prompt", "answer", "content_hash"])
        frozen = frozen.filter(pl.col("split") == "test")
        keys, hashes = set(hash64(_shown_text(frozen)).tolist()), set(frozen["content_hash"].to_list())
        for i, key in enumerate(index.prompt_keys().tolist()):
            if key in keys or index.hashes[i] in hashes:
                fixed[i] = "test"
            elif fixed.get(i) == "test":
                del fixed[i]
    return fixed


def _shares_left(spec: SnapshotSpec, fixed: dict[int, str]) -> dict[str, float]:
    """Shares for the rows that are not settled: a split that is settled already takes no more."""
    settled = set(fixed.values())
    shares = {name: share for name, share in spec.split.items() if name == "train" or name not in settled}
    return shares if sum(shares.values()) > 0 else {"train": 1.0}


def _refuse_empty(spec: SnapshotSpec, splits: list[str]) -> None:
    counts = Counter(splits)
    for name in SPLITS:
        if spec.split.get(name, 0) > 0 and not counts[name]:
            rows = f"{len(splits)} usable row{'s' if len(splits) != 1 else ''}"
            raise UserError(
                "too_few_examples",
                f"With {rows} the {name} part would be empty. Add examples, or set its share to 0.",
                field="split",
            )


def _write(
    spec: SnapshotSpec,
    overrides: dict[int, dict[str, Any]],
    index: _Index,
    splits: list[str],
    out: Path,
    run: Run,
) -> dict[str, Any]:
    """Stream the rows again, now with their split, and count and hash them on the way."""
    by_row = dict(zip(index.rows, splits, strict=True))
    digest = hashlib.sha256()
    statistics = Statistics()
    labels: dict[str, Counter[str]] = {name: Counter() for name in SPLITS}
    partial = out / "snapshot.partial"
    done = 0
    with pq.ParquetWriter(partial, _SCHEMA, compression="zstd") as writer:
        for frame in _included(spec, overrides):
            rows = frame["row"].to_list()
            frame = frame.with_columns(pl.Series("split", [by_row[row] for row in rows], dtype=pl.String))
            for row in frame.select(_SCHEMA.names).iter_rows(named=True):
                digest.update(canonical_line(row))
            writer.write_table(frame.select(_SCHEMA.names).to_arrow().cast(_SCHEMA), row_group_size=_GROUP_ROWS)
            words = [
                pl.col(n).str.count_matches(WORDS).cast(pl.Int32).alias(f"{n}_words") for n in ("prompt", "answer")
            ]
            statistics.add(frame.with_columns(words))
            for split, label in zip(frame["split"], frame["label"], strict=True):
                if label is not None:
                    labels[split][label] += 1
            done += frame.height
            run.emit("progress", done=done, total=len(splits), unit="rows")
            _boundary(run)
    os.replace(partial, out / "snapshot.parquet")
    counts = {name: splits.count(name) for name in SPLITS}
    sizes = {"train_size": counts["train"], "val_size": counts["validation"], "test_size": counts["test"]}
    return {
        "sha256": digest.hexdigest(),
        "counts": counts,
        "labels": {name: dict(counter.most_common()) for name, counter in labels.items()},
        "statistics": statistics.as_dict() | sizes,
        "seed": spec.seed,
        "split": spec.split,
        "stratify_by": spec.stratify_by,
        "group_by": spec.group_by,
        "task_type": spec.task_type,
    }


def canonical_line(row: dict[str, Any]) -> bytes:
    """One row as the line that is hashed: sorted names, JSON columns as JSON, UTF-8."""
    plain = {name: row[name] for name in ("row", "split", "label")}
    plain["messages"] = json.loads(row["messages"])
    plain["metadata"] = json.loads(row["metadata"] or "{}")
    text = json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "replace") + b"\n"


def _write_json(path: Path, value: Any) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")
    os.replace(partial, path)
