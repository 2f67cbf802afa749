"""Parquet files: columns read in small batches, nested ones as lists and objects."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from finetune_engine.data.readers.byte_stream import ByteSource
from finetune_engine.data.readers.lines import nul_byte, too_large
from finetune_engine.data.readers.table import Layout, distinct_names
from finetune_engine.data.records import Finding, RawRecord, quoted
from finetune_engine.errors import Place, UserError

_BATCH_ROWS = 32  # rows may be large, and small batches cost next to nothing
_MAX_COLUMNS = 5_000


@dataclass
class ParquetTable:
    """A Parquet file with its columns; ``layout.columns`` are their names."""

    path: Path
    source: ByteSource
    name: str
    layout: Layout
    rows: int
    _batches: Any = field(default=None, repr=False)

    def records(self, max_bytes: int) -> Iterator[RawRecord]:
        """One record per row. UserError ``unsupported_file`` where the file turns out to be damaged."""
        row = 0
        size = self.source.size
        for batch in self._read():
            for values in _rows(batch, self.name):
                row += 1
                yield _record(row, dict(zip(self.layout.columns, values, strict=True)), max_bytes)
            self.source.consumed = size * row // max(self.rows, row, 1)
        if row != self.rows:
            raise _damaged(self.name)

    def _read(self) -> Iterator[Any]:
        import pyarrow as pa

        try:
            with _open(self.path) as file:
                yield from file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False)
        except MemoryError as error:
            raise _too_much(self.name) from error
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise _damaged(self.name) from error


def open_parquet(path: Path, source: ByteSource, shown: str) -> ParquetTable:
    """The table in a file. UserError ``unsupported_file``, ``empty_file`` or ``header_only``."""
    import pyarrow as pa

    try:
        with _open(path) as file:
            names = list(file.schema_arrow.names)
            rows = file.metadata.num_rows
    except MemoryError as error:
        raise _too_much(shown) from error
    except (pa.ArrowException, OSError, ValueError, OverflowError, UnicodeError) as error:
        raise _damaged(shown) from error
    if not names or len(names) > _MAX_COLUMNS:
        raise _damaged(shown)
    columns, repeated = distinct_names(names)
    if rows < 1:
        raise UserError(
            "header_only",
            f"{shown} has columns ({', '.join(columns[:8])}) and no rows. Add one example per row.",
            place=Place(file=shown, found="no rows", expected="at least one row"),
        )
    return ParquetTable(path, source, shown, Layout(None, 1, columns, repeated), rows)


def _open(path: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, memory_map=False, pre_buffer=False)


def _rows(batch: Any, shown: str) -> Iterator[tuple[Any, ...]]:
    import pyarrow as pa

    try:
        columns = [column.to_pylist(maps_as_pydicts="lossy") for column in batch.columns]
    except MemoryError as error:
        raise _too_much(shown) from error
    except (pa.ArrowException, ValueError, OverflowError, KeyError, TypeError) as error:
        raise _damaged(shown) from error
    return zip(*columns, strict=True)


def _record(row: int, raw: dict[str, Any], max_bytes: int) -> RawRecord:
    binary: list[str] = []
    value = {name: _plain(item, name, binary) for name, item in raw.items()}
    try:
        original = orjson.dumps(value).decode()
    except TypeError:  # numbers beyond 64 bits
        original = json.dumps(value, ensure_ascii=False)
    if len(original) > max_bytes:
        return RawRecord(row, None, None, "", [too_large(len(original), max_bytes)])
    if "\\u0000" in original and (text := next((v for v in value.values() if isinstance(v, str) and "\0" in v), "")):
        return RawRecord(row, None, None, original, [nul_byte(text.index("\0"))])
    return RawRecord(row, None, value, original, [_not_text(binary[0])] if binary else [])


def _plain(value: Any, name: str, binary: list[str]) -> Any:
    """A value as JSON would hold it. Fields of a nested object that hold nothing are left out: Parquet gives every
    object the same fields, so nothing means "not there". Columns with bytes that are no text are noted in ``binary``.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(item, name, binary) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item, name, binary) for key, item in value.items() if item is not None}
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            binary.append(name)
            return None
    return str(value)


def _number(value: Decimal) -> int | float | None:
    if not value.is_finite():
        return None
    return int(value) if value == value.to_integral_value() else float(value)


def _not_text(column: str) -> Finding:
    fix = "Write the column as text (UTF-8), or leave it out."
    return Finding(
        "damaged_text",
        f"has bytes that are not text in {quoted(column)}; they were left out. {fix}",
        column=column,
        found="bytes that are not text",
        expected="UTF-8 text",
        fix=fix,
    )


def _damaged(shown: str) -> UserError:
    return UserError(
        "unsupported_file",
        f"{shown} is a Parquet file that is damaged or cut short. Export or copy it again.",
        place=Place(file=shown, found="a damaged Parquet file", expected="a whole Parquet file"),
    )


def _too_much(shown: str) -> UserError:
    return UserError(
        "unsupported_file",
        f"{shown} is a Parquet file that unpacks to more than the memory can hold, so it was not read. "
        "Export it as JSON lines and upload that.",
        place=Place(file=shown, found="a Parquet file too large to unpack", expected="a smaller file"),
    )
