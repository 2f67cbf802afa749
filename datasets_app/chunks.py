"""The text of rows: Parquet chunks as the engine wrote them, read a row group at a time.

pyarrow is imported inside the functions, so that a web process that shows no row text never loads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets_app.models import ANSWER_HEAD_LENGTH, PROMPT_HEAD_LENGTH, Dataset, Example
from work_kit.files import local_copy

BATCH = 1_000
_TEXT_COLUMNS = ("row", "line", "messages", "prompt", "answer", "label", "metadata", "original")


@dataclass(frozen=True)
class Head:
    """What the table keeps of one row."""

    row: int
    status: str
    codes: list[str]
    label: str
    split: str
    prompt: str
    answer: str
    content_hash: str


@dataclass(frozen=True)
class RowText:
    """The whole text of one row as the chunk holds it. ``line`` is the line in the file where it has one."""

    row: int
    line: int | None
    messages: list[dict[str, Any]]
    prompt: str
    answer: str
    label: str | None
    metadata: dict[str, Any]
    original: str


def chunk_folder(dataset: Dataset) -> Path:
    """The dataset's chunks on this machine."""
    return local_copy(dataset.storage_prefix)


def row_texts(dataset: Dataset, examples: Sequence[Example]) -> dict[int, RowText]:
    """The texts of these examples by row number. Each row group is read once."""
    import pyarrow.parquet as pq

    folder = chunk_folder(dataset)
    wanted: dict[int, list[int]] = {}
    for example in examples:
        wanted.setdefault(example.chunk, []).append(example.offset)
    found: dict[int, RowText] = {}
    for chunk, offsets in wanted.items():
        with pq.ParquetFile(folder / dataset.chunks[chunk]) as file:
            for group, inside in _by_group(file.metadata, offsets):
                table = file.read_row_group(group, columns=list(_TEXT_COLUMNS), use_threads=False).take(inside)
                for record in table.to_pylist():
                    found[record["row"]] = _row_text(record)
    return found


def heads(path: Path) -> Iterator[Head]:
    """What the table keeps of each row of one chunk, in order."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = ["row", "status", "codes", "label", "split", "prompt", "answer", "original", "content_hash"]
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH, columns=columns, use_threads=False):
            shown = pc.if_else(pc.equal(batch["prompt"], ""), batch["original"], batch["prompt"])
            prompts = pc.utf8_slice_codeunits(shown, 0, PROMPT_HEAD_LENGTH).to_pylist()
            answers = pc.utf8_slice_codeunits(batch["answer"], 0, ANSWER_HEAD_LENGTH).to_pylist()
            rest = batch.select(["row", "status", "codes", "label", "split", "content_hash"]).to_pylist()
            for record, prompt, answer in zip(rest, prompts, answers, strict=True):
                yield Head(
                    row=record["row"],
                    status=record["status"],
                    codes=record["codes"] or [],
                    label=_short(record["label"], 200),
                    split=_short(record["split"], 12),
                    prompt=_short(prompt, PROMPT_HEAD_LENGTH),
                    answer=_short(answer, ANSWER_HEAD_LENGTH),
                    content_hash=record["content_hash"] or "",
                )


def findings(path: Path) -> Iterator[dict[str, Any]]:
    """All findings of an import as dictionaries."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH, use_threads=False):
            yield from batch.to_pylist()


def _by_group(metadata: Any, offsets: list[int]) -> Iterator[tuple[int, list[int]]]:
    start = 0
    for group in range(metadata.num_row_groups):
        length = metadata.row_group(group).num_rows
        inside = [offset - start for offset in offsets if start <= offset < start + length]
        if inside:
            yield group, inside
        start += length


def _row_text(record: dict[str, Any]) -> RowText:
    return RowText(
        row=record["row"],
        line=record["line"],
        messages=json.loads(record["messages"] or "[]"),
        prompt=record["prompt"] or "",
        answer=record["answer"] or "",
        label=record["label"],
        metadata=json.loads(record["metadata"] or "{}"),
        original=record["original"] or "",
    )


def _short(text: str | None, length: int) -> str:
    return (text or "").replace("\0", "")[:length]
