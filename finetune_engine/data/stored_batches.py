"""Batches put aside on disk between the two passes of ``prepare``, with the few numbers kept in memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from finetune_engine.data.batches import Batch
from finetune_engine.data.canonical import normalised
from finetune_engine.data.codes import CODES, RANK
from finetune_engine.data.records import Finding
from finetune_engine.data.stored_once import compact

FINDING_SCHEMA: dict[str, type[pl.DataType]] = {
    "row": pl.Int64,
    "code": pl.String,
    "kind": pl.String,
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
# What only the checks of the first pass read.
_PASSING = ("prompt_norm", "answer_norm", "setting_norm", "subject", "suspect")
_KEYS = ("content", "context", "answer", "setting")


def finding_frame(findings: list[Finding]) -> pl.DataFrame:
    """Findings as the table that is written."""
    columns: dict[str, list[object]] = {name: [] for name in FINDING_SCHEMA}
    for finding in findings:
        for name, column in columns.items():
            column.append(CODES[finding.code].severity if name == "severity" else getattr(finding, name))
    return pl.DataFrame(columns, schema=FINDING_SCHEMA)


class StoredBatches:
    """Batches on disk. Per row, in memory: four keys of eight bytes and a little more.

    ``compared``: whether texts will be compared with one another, so that their normal form is worth keeping.
    """

    def __init__(self, folder: Path, *, compared: bool = True) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._passing = _PASSING if compared else (*_PASSING, "subject_norm")
        self.starts: list[int] = [0]
        self.sources: list[int] = []
        self._keys: dict[str, list[npt.NDArray[np.uint64]]] = {name: [] for name in _KEYS}
        self._usable: list[npt.NDArray[np.bool_]] = []
        self._lines: list[npt.NDArray[np.int32]] = []
        self._noted: set[int] = set()

    @property
    def count(self) -> int:
        """Rows stored."""
        return self.starts[-1]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def add(self, batch: Batch, source: int) -> None:
        """Put one batch of one file aside. Its rows are numbered over all files without a gap."""
        number = len(self)
        frame = batch.frame
        rejected = {f.row for f in batch.findings if RANK[CODES[f.code].status] == RANK["rejected"]}
        usable = frame["usable"].to_numpy()
        if rejected:
            usable = usable & ~np.isin(frame["row"].to_numpy(), list(rejected))
        for name, key in _row_keys(frame).items():
            self._keys[name].append(key)
        self._usable.append(np.array(usable))
        self._lines.append(frame["line"].fill_null(-1).to_numpy().astype(np.int32))
        kept = compact(frame.drop(self._passing, strict=False))
        # The older layout writes each text once; the newer one would write whole blocks of which it shows a part.
        kept.write_ipc(self._folder / f"batch-{number:06d}.arrow", compat_level=pl.CompatLevel.oldest())
        if batch.findings:
            finding_frame(batch.findings).write_ipc(self._folder / f"findings-{number:06d}.arrow")
            self._noted.add(number)
        self.sources.append(source)
        self.starts.append(self.count + frame.height)

    def key(self, name: str) -> npt.NDArray[np.uint64]:
        """One key per row: content, context, answer or setting."""
        return np.concatenate(self._keys[name]) if self._keys[name] else np.zeros(0, np.uint64)

    def usable(self) -> npt.NDArray[np.bool_]:
        """Whether each row may still be used after the checks on its own text."""
        return np.concatenate(self._usable) if self._usable else np.zeros(0, bool)

    def lines(self) -> npt.NDArray[np.int32]:
        """The line of each stored row, -1 for none."""
        return np.concatenate(self._lines) if self._lines else np.zeros(0, np.int32)

    def frame(self, number: int) -> pl.DataFrame:
        """One batch again."""
        return pl.read_ipc(self._folder / f"batch-{number:06d}.arrow")

    def findings(self, number: int) -> pl.DataFrame:
        """The findings of the first pass on one batch."""
        if number not in self._noted:
            return finding_frame([])
        return pl.read_ipc(self._folder / f"findings-{number:06d}.arrow")

    def texts(self, column: str, index: npt.NDArray[np.int64]) -> list[str]:
        """One column for some rows, given by ascending index. Reads only the batches they lie in."""
        out: list[str] = []
        for number, part in self._by_batch(index):
            frame = pl.read_ipc(self._folder / f"batch-{number:06d}.arrow", columns=[column])
            out.extend(frame[column].gather(part - self.starts[number]).to_list())
        return out

    def normal_answers(self, index: npt.NDArray[np.int64]) -> list[str]:
        """The normalised answers of some rows, given by ascending index."""
        return normalised(pl.Series(self.texts("answer", index), dtype=pl.String)).to_list()

    def _by_batch(self, index: npt.NDArray[np.int64]) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        starts = np.array(self.starts)
        which = np.searchsorted(starts, index, side="right") - 1
        for number in np.unique(which).tolist():
            yield number, index[which == number]

    def discard(self) -> None:
        """Remove everything from disk."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _row_keys(frame: pl.DataFrame) -> dict[str, npt.NDArray[np.uint64]]:
    """64-bit keys of what rows are compared by."""
    hashes = frame.select(
        pl.col("content_hash", "setting_norm", "prompt_norm", "answer_norm", "instruction").hash(seed=7)
    )
    setting = hashes["setting_norm"].to_numpy()
    return {
        "content": hashes["content_hash"].to_numpy(),
        "context": _mixed(setting, hashes["prompt_norm"].to_numpy()),
        "answer": hashes["answer_norm"].to_numpy(),
        "setting": _mixed(setting, hashes["instruction"].to_numpy()),
    }


def _mixed(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One key of two, in which their order counts."""
    with np.errstate(over="ignore"):
        mixed: npt.NDArray[np.uint64] = (first * np.uint64(0x9E3779B97F4A7C15)) ^ second
    return mixed
