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
from finetune_engine.data.stored_once import fill_row
from work_kit.files import local_copy

# One value per row (an Arrow array) or one for all rows, by name.
Columns = dict[str, Any]

GROUP = 5_000
_TEXT_COLUMNS = (
    "row", "line", "messages", "prompt", "answer", "label", "metadata", "original", "source", "source_row", "rejected",
    "desirable", "cleaned", "original_form",
)  # fmt: skip
_HEAD_COLUMNS = (
    "row", "status", "codes", "label", "split", "prompt", "answer", "original", "content_hash", "cluster",
    "original_form",
)  # fmt: skip


@dataclass(frozen=True)
class RowText:
    """The whole text of one row as the chunk holds it.

    ``line`` is the line in the file where it has one; ``source`` counts files from 0 and ``source_row`` records in that
    file from 1. ``rejected`` are the messages of the worse answer of a preference pair, None for other rows;
    ``cleaned`` names the cleaning steps that changed the row.
    """

    row: int
    line: int | None
    messages: list[dict[str, Any]]
    prompt: str
    answer: str
    label: str | None
    metadata: dict[str, Any]
    original: str
    source: int = 0
    source_row: int | None = None
    rejected: list[dict[str, Any]] | None = None
    desirable: bool | None = None
    cleaned: tuple[str, ...] = ()


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
            there = [name for name in _TEXT_COLUMNS if name in file.schema_arrow.names]
            for group, inside in _by_group(file.metadata, offsets):
                table = file.read_row_group(group, columns=there, use_threads=False).take(inside)
                for record in map(fill_row, table.to_pylist()):
                    found[record["row"]] = _row_text(record)
    return found


def heads(path: Path) -> Iterator[Columns]:
    """What the table keeps of the rows of one chunk, in order, a few thousand at a time: columns by field name."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        there = [name for name in _HEAD_COLUMNS if name in file.schema_arrow.names]
        for batch in file.iter_batches(GROUP, columns=there, use_threads=False):
            shown = batch["prompt"]
            if pc.any(empty := pc.equal(shown, "")).as_py():
                shown = pc.replace_with_mask(shown, empty, _originals(batch.filter(empty)))
            yield {
                "row": batch["row"],
                "status": batch["status"],
                "checked_status": batch["status"],
                "codes": _json_lists(batch["codes"]),
                "label": _short(batch["label"], 200),
                "split": _short(batch["split"], 12),
                "prompt_head": _short(shown, PROMPT_HEAD_LENGTH),
                "answer_head": _short(batch["answer"], ANSWER_HEAD_LENGTH),
                "content_hash": _short(batch["content_hash"], 64),
                "cluster": batch["cluster"] if "cluster" in there else None,
            }


def findings(path: Path) -> Iterator[Columns]:
    """All findings of an import: columns by field name."""
    import pyarrow.parquet as pq

    limits = {"code": 40, "kind": 20, "severity": 8, "column": 200}
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(GROUP, use_threads=False):
            texts = ("code", "kind", "severity", "message", "column", "found", "expected", "fix")
            yield {name: batch[name] for name in ("row", "start", "end", "related_row")} | {
                name: _short(batch[name], limits.get(name)) for name in texts
            }


def _originals(batch: Any) -> Any:
    """The lines of the rows as they were uploaded."""
    import pyarrow as pa

    columns = [name for name in ("prompt", "answer", "original", "original_form") if name in batch.schema.names]
    rows = batch.select(columns).to_pylist()
    return pa.array([fill_row(row)["original"] for row in rows], pa.string())


def _json_lists(column: Any) -> Any:
    """Lists of names as JSON text. Most lists are empty, so each different one is written once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.sum(pc.list_value_length(column)).as_py():
        return pa.repeat(pa.scalar("[]"), len(column))
    return pa.array([json.dumps(codes or []) for codes in column.to_pylist()], pa.string())


def _short(column: Any, length: int | None) -> Any:
    """Texts cut to ``length`` characters (None: whole), "" for none. PostgreSQL stores no NUL: it is shown as a mark."""
    import pyarrow.compute as pc

    column = pc.fill_null(column, "")
    if length is not None:
        column = pc.utf8_slice_codeunits(column, 0, length)
    return pc.replace_substring(column, "\0", "\N{SYMBOL FOR NULL}") if pc.any(_holds_nul(column)).as_py() else column


def _holds_nul(column: Any) -> Any:
    import pyarrow.compute as pc

    return pc.match_substring(column, "\0")


def _by_group(metadata: Any, offsets: list[int]) -> Iterator[tuple[int, list[int]]]:
    start = 0
    for group in range(metadata.num_row_groups):
        length = metadata.row_group(group).num_rows
        inside = [offset - start for offset in offsets if start <= offset < start + length]
        if inside:
            yield group, inside
        start += length


def _row_text(record: dict[str, Any]) -> RowText:
    worse = record.get("rejected")
    return RowText(
        row=record["row"],
        line=record["line"],
        messages=json.loads(record["messages"] or "[]"),
        prompt=record["prompt"] or "",
        answer=record["answer"] or "",
        label=record["label"],
        metadata=json.loads(record["metadata"] or "{}"),
        original=record["original"] or "",
        source=record.get("source") or 0,
        source_row=record.get("source_row"),
        rejected=json.loads(worse) if worse else None,
        desirable=record.get("desirable"),
        cleaned=tuple(record.get("cleaned") or ()),
    )
