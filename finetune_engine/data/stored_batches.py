"""Batches put aside on disk between the two passes of ``prepare``, with the few numbers kept in memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from finetune_engine.data.batches import Batch
from finetune_engine.data.codes import CODES, RANK
from finetune_engine.data.records import Finding

FINDING_SCHEMA: dict[str, type[pl.DataType]] = {
    "row": pl.Int64,
    "code": pl.String,
    "severity": pl.String,
    "message": pl.String,
    "column": pl.String,
    "start": pl.Int32,
    "end": pl.Int32,
    "found": pl.String,
    "expected": pl.String,
    "fix": pl.String,
    "related_row": pl.Int64,
}


def finding_frame(findings: list[Finding]) -> pl.DataFrame:
    """Findings as the table that is written."""
    columns: dict[str, list[object]] = {name: [] for name in FINDING_SCHEMA}
    for finding in findings:
        for name, column in columns.items():
            column.append(CODES[finding.code].severity if name == "severity" else getattr(finding, name))
    return pl.DataFrame(columns, schema=FINDING_SCHEMA)


class StoredBatches:
    """Batches on disk. Per row, in memory: four keys of eight bytes and a little more."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.starts: list[int] = [0]
        self._keys: dict[str, list[npt.NDArray[np.uint64]]] = {
            name: [] for name in ("content", "context", "answer", "setting")
        }
        self._usable: list[npt.NDArray[np.bool_]] = []
        self._rows: list[npt.NDArray[np.int64]] = []
        self._lines: list[npt.NDArray[np.int64]] = []

    @property
    def count(self) -> int:
        """Rows stored."""
        return self.starts[-1]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def add(self, batch: Batch) -> None:
        """Put one batch aside."""
        number = len(self)
        frame = batch.frame
        rejected = {f.row for f in batch.findings if RANK[CODES[f.code].status] == RANK["rejected"]}
        usable = frame["usable"].to_numpy() & ~np.isin(frame["row"].to_numpy(), list(rejected))
        context = pl.concat_str("setting_norm", "prompt_norm", separator="\x1f")
        keys = frame.select(
            pl.col("content_hash").hash(seed=7).alias("content"),
            context.hash(seed=7).alias("context"),
            pl.col("answer_norm").hash(seed=7).alias("answer"),
            pl.concat_str("setting_norm", "instruction", separator="\x1f").hash(seed=7).alias("setting"),
        )
        for name, parts in self._keys.items():
            parts.append(keys[name].to_numpy().astype(np.uint64))
        self._usable.append(usable)
        self._rows.append(frame["row"].to_numpy().astype(np.int64))
        self._lines.append(frame["line"].fill_null(-1).to_numpy().astype(np.int64))
        frame.write_ipc(self._folder / f"batch-{number:06d}.arrow")
        finding_frame(batch.findings).write_ipc(self._folder / f"findings-{number:06d}.arrow")
        self.starts.append(self.count + frame.height)

    def key(self, name: str) -> npt.NDArray[np.uint64]:
        """One key per row: content, context, answer or setting."""
        return np.concatenate(self._keys[name]) if self._keys[name] else np.zeros(0, np.uint64)

    def usable(self) -> npt.NDArray[np.bool_]:
        """Whether each row may still be used after the checks on its own text."""
        return np.concatenate(self._usable) if self._usable else np.zeros(0, bool)

    def rows(self) -> npt.NDArray[np.int64]:
        """The row number of each stored row."""
        return np.concatenate(self._rows) if self._rows else np.zeros(0, np.int64)

    def lines(self) -> npt.NDArray[np.int64]:
        """The line of each stored row, -1 for none."""
        return np.concatenate(self._lines) if self._lines else np.zeros(0, np.int64)

    def frame(self, number: int) -> pl.DataFrame:
        """One batch again."""
        return pl.read_ipc(self._folder / f"batch-{number:06d}.arrow")

    def findings(self, number: int) -> pl.DataFrame:
        """The findings of the first pass on one batch."""
        return pl.read_ipc(self._folder / f"findings-{number:06d}.arrow")

    def texts(self, column: str, index: npt.NDArray[np.int64]) -> list[str]:
        """One column for some rows, given by ascending index. Reads only the batches they lie in."""
        out: list[str] = []
        for number, part in self._by_batch(index):
            frame = pl.scan_ipc(self._folder / f"batch-{number:06d}.arrow").select(column).collect()
            out.extend(frame[column].gather(part - self.starts[number]).to_list())
        return out

    def _by_batch(self, index: npt.NDArray[np.int64]) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        starts = np.array(self.starts)
        which = np.searchsorted(starts, index, side="right") - 1
        for number in np.unique(which).tolist():
            yield number, index[which == number]

    def discard(self) -> None:
        """Remove everything from disk."""
        shutil.rmtree(self._folder, ignore_errors=True)
