"""Many rows at once, past the ORM's objects: ``executemany`` on SQLite, COPY on PostgreSQL.

A million rows through ``bulk_create`` cost several times the work of reading them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection, models, transaction

BATCH = 2_000


def insert_rows(model: type[models.Model], fields: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Insert ``rows`` (values in the order of ``fields``; JSON already as text) in transactions of ``BATCH`` rows,
    so that no other writer waits long. Columns that are not named must be nullable. Returns how many."""
    columns = [_column(model, name) for name in fields]
    batch: list[Sequence[Any]] = []
    done = 0
    for row in rows:
        batch.append(row)
        if len(batch) >= BATCH:
            done += _insert_batch(model._meta.db_table, columns, batch)
            batch = []
    return done + (_insert_batch(model._meta.db_table, columns, batch) if batch else 0)


def _column(model: type[models.Model], name: str) -> str:
    field = model._meta.get_field(name)
    assert isinstance(field, models.Field)
    return str(field.column)


def _insert_batch(table: str, columns: Sequence[str], batch: Sequence[Sequence[Any]]) -> int:
    quote = connection.ops.quote_name
    names = ", ".join(quote(column) for column in columns)
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {quote(table)} ({names}) FROM STDIN") as copy:
                for row in batch:
                    copy.write_row(row)
        else:
            marks = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"INSERT INTO {quote(table)} ({names}) VALUES ({marks})", batch)  # noqa: S608
    return len(batch)


def delete_in_batches(rows: models.QuerySet[Any]) -> int:
    """Delete these rows, ``BATCH`` in a transaction. Only for rows that nothing else points to. Returns how many."""
    done = 0
    while True:
        with transaction.atomic():
            ids = list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])
            if not ids:
                return done
            done += rows.model._default_manager.filter(pk__in=ids)._raw_delete(rows.db)
