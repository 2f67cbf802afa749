"""Writing the results of ``prepare``: chunks of examples and one table of findings."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from finetune_engine.data.stored_batches import FINDING_SCHEMA

CHUNK_ROWS = 50_000
GROUP_ROWS = 1_000
# Fast to write: a text stands in several columns, and a slower packing costs more than all the checks together.
PACKING = "snappy"

# ``messages`` and ``original`` may be null: ``stored_once.filled`` gives them back.
EXAMPLE_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("line", pa.int64()),
        ("messages", pa.string()),
        ("prompt", pa.string()),
        ("answer", pa.string()),
        ("label", pa.string()),
        ("metadata", pa.string()),
        ("split", pa.string()),
        ("original", pa.string()),
        ("status", pa.string()),
        ("codes", pa.list_(pa.string())),
        ("content_hash", pa.string()),
        ("prompt_words", pa.int32()),
        ("answer_words", pa.int32()),
        ("source", pa.int32()),
        ("source_row", pa.int64()),
        ("rejected", pa.string()),
        ("desirable", pa.bool_()),
        ("group", pa.string()),
        ("cluster", pa.int64()),
        ("cleaned", pa.list_(pa.string())),
        ("tokens", pa.int32()),
        ("original_form", pa.string()),
    ]
)
# Texts that hardly repeat gain nothing from a dictionary.
_REPEATING = [
    "label",
    "metadata",
    "split",
    "status",
    "codes.list.element",
    "source",
    "group",
    "cleaned.list.element",
    "original_form",
]
_ARROW: dict[type[pl.DataType], pa.DataType] = {pl.Int64: pa.int64(), pl.Int32: pa.int32(), pl.String: pa.string()}
_FINDINGS = pa.schema([(name, _ARROW[kind]) for name, kind in FINDING_SCHEMA.items()])


class ChunkWriter:
    """Writes ``examples-00000.parquet`` and on, and ``findings.parquet``. Use as a context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: pq.ParquetWriter | None = None
        self._in_chunk = 0
        self.names: list[str] = []
        self.findings = 0
        self._findings = pq.ParquetWriter(folder / "findings.parquet", _FINDINGS, compression=PACKING)

    def __enter__(self) -> ChunkWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        self._findings.close()

    def write(self, examples: pl.DataFrame, findings: pl.DataFrame) -> None:
        """Add rows in the columns of ``EXAMPLE_SCHEMA`` and their findings."""
        at = 0
        while at < examples.height:
            if self._writer is None or self._in_chunk >= CHUNK_ROWS:
                self._next_chunk()
            assert self._writer is not None
            part = examples.slice(at, CHUNK_ROWS - self._in_chunk)
            self._writer.write_table(as_arrow(part.select(EXAMPLE_SCHEMA.names), EXAMPLE_SCHEMA), GROUP_ROWS)
            self._in_chunk += part.height
            at += part.height
        if findings.height:
            self.findings += findings.height
            self._findings.write_table(as_arrow(findings.select(_FINDINGS.names), _FINDINGS))

    def _next_chunk(self) -> None:
        if self._writer is not None:
            self._writer.close()
        name = f"examples-{len(self.names):05d}.parquet"
        self.names.append(name)
        self._in_chunk = 0
        self._writer = pq.ParquetWriter(
            self._folder / name,
            EXAMPLE_SCHEMA,
            compression=PACKING,
            use_dictionary=_REPEATING,
            write_statistics=["row"],
        )


def as_arrow(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """The frame as an Arrow table of ``schema``. Texts go the way that copies once (not through string views)."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)
