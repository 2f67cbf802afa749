"""What stands after a test that really commits: nothing, and quickly.

Django empties every table with ``flush``, then makes all content types and permissions again: about a second on PostgreSQL, where
each ``TRUNCATE`` writes new files, for tests that filled five tables of seventy. Here only tables that hold rows are emptied.
"""

from __future__ import annotations

import time

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

KEPT = {"django_migrations", "django_content_type", "auth_permission"}
"""Made by migrating, the same for every test."""
PATIENCE_SECONDS = 30.0
"""A thread that is about to end may write once more while we delete, or hold a lock."""


def empty_tables(self: object) -> None:
    """In place of ``TransactionTestCase._fixture_teardown``."""
    for alias in self._databases_names(include_mirrors=False):  # type: ignore[attr-defined]
        _empty(connections[alias])


def _empty(connection: BaseDatabaseWrapper) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            filled = _filled(connection)
            if not filled:
                return
            # Foreign keys are checked at the end of the transaction, so that the order of the tables does not matter.
            with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
                for table in filled:
                    cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")
        except DatabaseError:
            if time.monotonic() > end:
                raise
            connection.close_if_unusable_or_obsolete()  # a test may have cut it off
            time.sleep(0.05)
            continue
        if time.monotonic() > end:
            raise AssertionError(f"somebody still writes into {', '.join(filled)}")


def _filled(connection: BaseDatabaseWrapper) -> list[str]:
    tables = [name for name in connection.introspection.django_table_names(include_views=False) if name not in KEPT]
    quote = connection.ops.quote_name
    asked = " UNION ALL ".join(f"SELECT {n} WHERE EXISTS (SELECT 1 FROM {quote(t)})" for n, t in enumerate(tables))
    with connection.cursor() as cursor:
        cursor.execute(asked)
        return [tables[number] for (number,) in cursor.fetchall()]
