"""The rows of a snapshot in their final form: chunks, with people's changes applied and personal data masked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow.parquet as pq

from finetune_engine.data.canonical import answer_of, content_hash, dump, prompt_of, setting_of
from finetune_engine.data.pii import Masked, Policy, mask_messages, may_hold_pii
from finetune_engine.data.snapshot_spec import NEAR_DUPLICATES, SnapshotSpec
from finetune_engine.data.stored_once import filled
from finetune_engine.errors import UserError

_BATCH_ROWS = 5_000
COLUMNS: dict[str, Any] = {
    "row": pl.Int64,
    "messages": pl.String,
    "prompt": pl.String,
    "answer": pl.String,
    "label": pl.String,
    "metadata": pl.String,
    "split": pl.String,
    "status": pl.String,
    "content_hash": pl.String,
    "source": pl.Int32,
    "source_row": pl.Int64,
    "rejected": pl.String,
    "desirable": pl.Boolean,
    "group": pl.String,
    "cluster": pl.Int64,
}


@dataclass
class Personal:
    """Rows in which personal data was masked, for which they were left out, or in which it was kept, by kind."""

    masked: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)  # by what was done, whatever the kind

    def as_dict(self) -> dict[str, dict[str, int]]:
        """The entry of the manifest."""
        return {name: dict(getattr(self, name).most_common()) for name in ("masked", "rejected", "kept", "rows")}


class FinalRows:
    """Rows that stay in, in order, as often as they are asked for. ``personal`` is known after the first time.

    Rows that were masked are put aside, so that looking for personal data happens once.
    """

    def __init__(self, spec: SnapshotSpec, aside: Path) -> None:
        self._spec = spec
        self._aside = aside
        self._overrides = read_overrides(spec.overrides)
        self._masked: dict[int, Path] = {}
        self._looked = False
        self.personal = Personal()

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for number, frame in enumerate(self._chosen()):
            final = self._remembered(number, frame) if self._looked else self._mask(number, frame)
            if not final.is_empty():
                yield final
        self._looked = True

    def _chosen(self) -> Iterator[pl.DataFrame]:
        for frame in read_chunks(self._spec.chunks):
            if self._overrides:
                frame = _changed_by_people(frame, self._overrides, self._spec.task_type)
            frame = frame.filter(pl.col("status").is_in(["accepted", "flagged"]) & (pl.col("messages") != "[]"))
            yield _grouped(frame, self._spec.group_by)

    def _mask(self, number: int, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with the policy on personal data applied; what it changed is kept for the next time."""
        texts = ("messages", "prompt", "answer", "rejected", "label", "metadata")
        may = pl.DataFrame([may_hold_pii(frame[name]) for name in texts]).max_horizontal()
        index = may.arg_true()
        changed: list[dict[str, Any]] = []
        left_out: list[int] = []
        for row in frame[index].iter_rows(named=True):
            self._apply_policy(row, self._spec.pii, changed, left_out)
        if not changed and not left_out:
            return frame
        self._masked[number] = self._aside / f"masked-{number:06d}.arrow"
        pl.DataFrame(changed, schema=frame.schema).write_ipc(self._masked[number])
        pl.DataFrame({"row": left_out}, schema={"row": pl.Int64}).write_ipc(self._masked[number].with_suffix(".out"))
        return self._remembered(number, frame)

    def _apply_policy(
        self, row: dict[str, Any], policy: Policy, changed: list[dict[str, Any]], left_out: list[int]
    ) -> None:
        worse = orjson.loads(row["rejected"]) if row["rejected"] else []
        beside = {"label": row["label"], "metadata": orjson.loads(row["metadata"] or "{}")}
        done = mask_messages(orjson.loads(row["messages"]), policy, rejected=worse, beside=beside)
        if done.reject:
            left_out.append(row["row"])
            self.personal.rejected.update(done.reject)
            self.personal.rows["rejected"] += 1
            return
        self.personal.kept.update(done.kept)
        kinds = [kind for kind, places in done.masked.items() if places]
        if kinds or done.beside != beside:
            self.personal.masked.update(kinds)
            self.personal.rows["masked"] += 1
            changed.append(_masked_row(row, done, self._spec.task_type))

    def _remembered(self, number: int, frame: pl.DataFrame) -> pl.DataFrame:
        path = self._masked.get(number)
        if path is None:
            return frame
        changed, left_out = pl.read_ipc(path), pl.read_ipc(path.with_suffix(".out"))["row"]
        gone = pl.concat([changed["row"], left_out])
        return pl.concat([frame.filter(~pl.col("row").is_in(gone.to_list())), changed]).sort("row")


def _masked_row(row: dict[str, Any], done: Masked, task_type: str) -> dict[str, Any]:
    """The row with masked texts. Its content hash stays that of the unmasked text: it says which example this is."""
    out = dict(row)
    messages = done.messages
    out["messages"], out["prompt"], out["answer"] = dump(messages), prompt_of(messages), answer_of(messages)
    out["label"], out["metadata"] = done.beside["label"], dump(done.beside["metadata"])
    if done.rejected:
        out["rejected"] = dump(done.rejected)
    if task_type == "classification" and row["label"] == row["answer"]:
        out["label"] = out["answer"]
    return out


def read_chunks(chunks: Sequence[Path]) -> Iterator[pl.DataFrame]:
    """All rows of prepared files, in order, a few thousand at a time. UserError ``bad_spec`` for a missing file."""
    for chunk in sorted(chunks, key=lambda path: path.name):
        if not chunk.is_file():
            raise UserError("bad_spec", f"There is no prepared file {chunk}.", field="chunks", reason="bad_config")
        with pq.ParquetFile(chunk) as parquet:
            there = [name for name in COLUMNS if name in parquet.schema_arrow.names]
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=there, use_threads=False):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                missing = (pl.lit(None, kind).alias(name) for name, kind in COLUMNS.items() if name not in there)
                yield filled(frame).with_columns(*missing).select(pl.col(n).cast(kind) for n, kind in COLUMNS.items())


def read_overrides(path: Path | None) -> dict[int, dict[str, Any]]:
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


def _grouped(frame: pl.DataFrame, wanted: str | None) -> pl.DataFrame:
    """The rows with their ``group``: the value of a metadata column as it was before masking, where one is wanted."""
    if wanted is None or wanted == NEAR_DUPLICATES:
        return frame
    found = (orjson.loads(text or "{}").get(wanted) for text in frame["metadata"].to_list())
    values = [None if value is None else str(value) for value in found]
    return frame.with_columns(pl.Series("group", values, dtype=pl.String))


def _changed_by_people(frame: pl.DataFrame, overrides: dict[int, dict[str, Any]], task_type: str) -> pl.DataFrame:
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
    if (worse := change.get("rejected")) is not None:
        row["rejected"] = worse if isinstance(worse, str) else dump(worse)
    if messages is not None:
        row["messages"] = dump(messages) if messages else "[]"
        row["prompt"], row["answer"] = prompt_of(messages), answer_of(messages)
        if task_type == "classification" and "label" not in change:
            row["label"] = row["answer"]
        setting = setting_of(messages, json.loads(row["metadata"] or "{}").get("tools"))
        row["content_hash"] = content_hash(row["prompt"], row["answer"], setting)
    return row
