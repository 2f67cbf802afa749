"""Many rows at once, past the ORM's objects: ``executemany`` on SQLite, COPY on PostgreSQL.

A million rows through ``bulk_create`` cost several times the work of reading them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any

from django.db import connection, models, transaction

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 2_000


def insert_columns(model: type[models.Model], fields: Sequence[str], parts: Iterable[Mapping[str, Any]]) -> int:
    """Insert rows that come as columns: each part gives, for every field, an Arrow array or one value for all its rows
    (JSON already as text; at least one array). One transaction per part, so keep parts to a few thousand rows: no other
    writer waits long. Columns that are not named must be nullable. Returns how many rows."""
    columns = [_column(model, name) for name in fields]
    insert = _copy if connection.vendor == "postgresql" else _execute_many
    done = 0
    for part in parts:
        count = next(len(value) for value in part.values() if hasattr(value, "to_pylist"))
        with transaction.atomic():
            insert(model._meta.db_table, columns, [part[name] for name in fields], count)
        done += count
    return done


def _execute_many(table: str, columns: Sequence[str], values: Sequence[Any], count: int) -> None:
    rows = zip(*(v.to_pylist() if hasattr(v, "to_pylist") else repeat(v, count) for v in values), strict=False)
    marks = ", ".join(["%s"] * len(columns))
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {_target(table, columns)} VALUES ({marks})", list(rows))  # noqa: S608


def _copy(table: str, columns: Sequence[str], values: Sequence[Any], count: int) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {_target(table, columns)} FROM STDIN (FORMAT csv)") as copy:
        copy.write(_csv(values, count))


def _csv(values: Sequence[Any], count: int) -> memoryview:
    """The rows as PostgreSQL's CSV, written by Arrow: texts in quotes, nothing at all for a null."""
    import pyarrow as pa
    import pyarrow.csv

    arrays = [value if hasattr(value, "to_pylist") else pa.repeat(_scalar(value), count) for value in values]
    table = pa.table(arrays, names=[str(place) for place in range(len(arrays))])
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed"))
    return memoryview(sink.getvalue())


def _scalar(value: Any) -> pa.Scalar[Any]:
    import pyarrow as pa

    return pa.scalar(value, pa.string()) if value is None else pa.scalar(value)


def _target(table: str, columns: Sequence[str]) -> str:
    quote = connection.ops.quote_name
    return f"{quote(table)} ({', '.join(quote(column) for column in columns)})"


def insert_rows(model: type[models.Model], fields: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Like ``insert_columns`` for rows of plain values, in transactions of ``BATCH`` rows. Returns how many."""
    columns = [_column(model, name) for name in fields]
    target = _target(model._meta.db_table, columns)
    marks = ", ".join(["%s"] * len(columns))
    done = 0
    for batch in _batched(rows):
        with transaction.atomic(), connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                with cursor.copy(f"COPY {target} FROM STDIN") as copy:
                    for row in batch:
                        copy.write_row(row)
            else:
                cursor.executemany(f"INSERT INTO {target} VALUES ({marks})", batch)  # noqa: S608
        done += len(batch)
    return done


def _batched(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        yield batch


def _column(model: type[models.Model], name: str) -> str:
    field = model._meta.get_field(name)
    assert isinstance(field, models.Field)
    return str(field.column)


def delete_in_batches(rows: models.QuerySet[Any]) -> int:
    """Delete these rows, ``BATCH`` in a transaction. Only for rows that nothing else points to. Returns how many."""
    done = 0
    while True:
        with transaction.atomic():
            ids = list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])
            if not ids:
                return done
            done += rows.model._default_manager.filter(pk__in=ids)._raw_delete(rows.db)
