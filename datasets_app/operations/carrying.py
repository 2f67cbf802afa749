"""What people decided about rows goes with the rows when a dataset is checked again.

Rows are the same when they have the same place in the same file. Done by the database in a few statements: a
dataset may hold a hundred thousand decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import Count, F

from datasets_app.choices import Decision, Status
from datasets_app.models import BulkAct, Dataset, Draft, Example, ReviewAct, RowLock

_FAR = 1_000_000_000  # where rows wait while others take their numbers
_CARRIED = (
    "decision", "edited_messages", "edited_label", "decided_by_id", "decided_at", "assigned_to_id", "bulk_act_id",
)  # fmt: skip


@dataclass(frozen=True)
class Move:
    """The rows of one file: where they were, and where they are now."""

    old_first: int
    old_rows: int
    new_first: int
    new_rows: int

    @property
    def rows(self) -> int:
        """How many have a place before and after."""
        return min(self.old_rows, self.new_rows)


def carry_decisions(*, dataset: Dataset, old: int, new: int, moves: Sequence[Move]) -> Counter[str]:
    """Give the rows of attempt ``new`` the decisions, edits and assignments of attempt ``old``; returns by how much
    each status' count changed. Inside the transaction that makes ``new`` visible.

    An acceptance is not carried to a row that can no longer be read: it says nothing about what is there now.
    """
    for move in moves:
        _carry(dataset, old, new, move, "o.decision <> ''", takes_status=True)
        _carry(dataset, old, new, move, "o.decision = '' AND o.assigned_to_id IS NOT NULL", takes_status=False)
    _renumber(dataset, moves)
    changed: Counter[str] = Counter()
    decided = Example.objects.filter(dataset=dataset, import_attempt=new).exclude(decision=Decision.NONE)
    for checked, status, n in decided.values_list("checked_status", "status").annotate(Count("pk")).order_by():
        changed[checked] -= n
        changed[status] += n
    return changed


def _carry(dataset: Dataset, old: int, new: int, move: Move, which: str, *, takes_status: bool) -> None:
    table = connection.ops.quote_name(Example._meta.db_table)
    values = [f"{column} = o.{column}" for column in _CARRIED]
    where = [
        "n.dataset_id = %s", "n.import_attempt = %s", "o.dataset_id = %s", "o.import_attempt = %s",
        'o."row" >= %s', 'o."row" < %s', 'n."row" = o."row" + %s', which,
    ]  # fmt: skip
    if takes_status:
        values.append(
            f"status = CASE WHEN o.decision = '{Decision.REJECT}' THEN '{Status.REJECTED}' ELSE '{Status.ACCEPTED}' END"
        )
        where.append(
            f"NOT (o.decision = '{Decision.ACCEPT}' AND o.edited_messages IS NULL"
            f" AND n.checked_status = '{Status.REJECTED}' AND n.answer_head = '')"
        )
    # Only names from this file are put into the statement; every value is a parameter.
    statement = f"UPDATE {table} AS n SET {', '.join(values)} FROM {table} AS o WHERE {' AND '.join(where)}"  # noqa: S608
    shift = move.new_first - move.old_first
    with connection.cursor() as cursor:
        cursor.execute(
            statement,
            [dataset.pk, new, dataset.pk, old, move.old_first, move.old_first + move.rows, shift],
        )


def _renumber(dataset: Dataset, moves: Sequence[Move]) -> None:
    """Acts and unsent edits name rows by number. Locks are let go of when numbers change: they last minutes."""
    if all(move.new_first == move.old_first and move.new_rows >= move.old_rows for move in moves) and moves:
        last = max(move.old_first + move.old_rows for move in moves)
        for model in (ReviewAct, Draft, RowLock):
            model._default_manager.filter(dataset=dataset, row__gte=last).delete()
        return
    RowLock.objects.filter(dataset=dataset).delete()
    for act in BulkAct.objects.filter(dataset=dataset, reached_row__isnull=False):
        BulkAct.objects.filter(pk=act.pk).update(reached_row=_moved_cursor(act.reached_row or 0, moves))
    for model in (ReviewAct, Draft):
        rows = model._default_manager.filter(dataset=dataset)
        for move in moves:
            staying = rows.filter(row__gte=move.old_first, row__lt=move.old_first + move.rows)
            staying.update(row=F("row") + (_FAR + move.new_first - move.old_first))
        rows.filter(row__lt=_FAR).delete()
        rows.update(row=F("row") - _FAR)


def _moved_cursor(reached: int, moves: Sequence[Move]) -> int:
    """Where an act goes on that had reached this row: after the last row before it that is still there."""
    passed = [move for move in moves if move.old_first <= reached]
    if not passed:
        return 0
    last = max(passed, key=lambda move: move.old_first)
    return last.new_first + min(reached - last.old_first, last.rows - 1)
