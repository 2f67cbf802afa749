"""The review queue: taking a row, keeping it, skipping, drafts, taking back, and dealing rows out to people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import connection, models, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.models import User
from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.choices import Act, Decision
from datasets_app.models import Dataset, Draft, Example, ReviewAct, RowLock
from datasets_app.operations.decisions import check_ready, checked_lead, count_acts, hold_dataset, undo_act
from datasets_app.queries.review import (
    MOST_LOOKS,
    Card,
    NextRow,
    Standing,
    card,
    last_act,
    live_locks,
    next_row,
    standing,
)
from datasets_app.queries.rows import RowFilters, example_window, visible
from datasets_app.row_messages import check_size, storable
from finetune_engine.errors import UserError

LOCK_SECONDS = 180.0  # without a sign of life the row is given to somebody else after this
TRIES = 8
BATCH = 1_000
MOST_ASSIGNED = 100_000
MOST_UNDONE = 50


class Taken:
    """What a person gets when they ask for a row: a card, or where the search stands. ``standing`` is theirs."""

    def __init__(self, card: Card | None, found: NextRow, standing: Standing) -> None:
        self.card = card
        self.found = found
        self.standing = standing


def take_next(
    *,
    actor: Actor,
    dataset: Dataset,
    filters: RowFilters,
    after: int | None = None,
    came_round: bool = False,
    looks: int = MOST_LOOKS,
) -> Taken:
    """Give this person the row they have already, if it fits and is undecided, else the next free one, and lock it.

    ``after`` goes on with a search that was not at its end. Two people never hold the same row: the lock is one
    guarded statement. ``looks`` bounds the search of one call.
    """
    check_ready(dataset)
    person = _person(actor)
    here = standing(dataset, person)
    locks = live_locks(dataset, filters)
    if after is None and (kept := _still_mine(dataset, person, locks)):
        return Taken(kept, NextRow(kept.row.example.row), here)
    taken_by_others = [lock.row for lock, _fits in locks if lock.user_id != person.pk]
    start = here.row if after is None else after
    for _try in range(TRIES):
        found = next_row(
            dataset,
            filters,
            after=start,
            without=taken_by_others,
            came_round=came_round,
            looks=looks,
            is_continued=after is not None,
        )
        if found.row is None:
            return Taken(None, found, here)
        if lock := _take(dataset, person, found.row):
            shown = card(dataset, lock)
            if shown is not None and shown.row.example.decision == Decision.NONE:
                return Taken(shown, found, here)
            RowLock.objects.filter(pk=lock.pk, user=person).delete()  # decided in the moment between
        taken_by_others.append(found.row)
    return Taken(None, NextRow(None, searched_to=start), here)


def take_row(*, actor: Actor, dataset: Dataset, row: int) -> Card | None:
    """Give this person a certain row, decided or not (to look at it again); None when somebody else holds it or it
    does not exist."""
    check_ready(dataset)
    person = _person(actor)
    lock = _take(dataset, person, row)
    shown = card(dataset, lock) if lock is not None else None
    if lock is not None and shown is None:
        RowLock.objects.filter(pk=lock.pk).delete()
    if shown is not None:
        RowLock.objects.filter(dataset=dataset, user=person).exclude(row=row).delete()
    return shown


def keep_row(*, actor: Actor, dataset: Dataset, row: int) -> bool:
    """The card is still open: hold the row on. False when it is somebody else's by now."""
    return _take(dataset, _person(actor), row) is not None


def seconds_held(*, actor: Actor, dataset: Dataset, row: int) -> float | None:
    """How long the row has been this person's; None when it is not."""
    taken_at = (
        RowLock.objects.filter(dataset=dataset, row=row, user=_person(actor)).values_list("taken_at", flat=True).first()
    )
    return (timezone.now() - taken_at).total_seconds() if taken_at else None


def release_row(*, actor: Actor, dataset: Dataset, row: int) -> None:
    """The person leaves the row to others."""
    RowLock.objects.filter(dataset=dataset, row=row, user=_person(actor)).delete()


def skip_example(*, actor: Actor, dataset: Dataset, row: int, lead_seconds: float | None = None) -> None:
    """Leave the row for later: for this person it comes after all others."""
    check_ready(dataset)
    person = _person(actor)
    if not visible(dataset).filter(row=row).exists():
        raise UserError("no_such_row", _("This dataset has no row %(n)s.") % {"n": row}, status=404)
    with transaction.atomic():
        ReviewAct.objects.create(
            dataset=dataset, row=row, user=person, action=Act.SKIP, before={}, lead_seconds=checked_lead(lead_seconds)
        )
        count_acts(dataset, person, skipped=1)
        RowLock.objects.filter(dataset=dataset, user=person).delete()


def undo_last(*, actor: Actor, dataset: Dataset) -> Example:
    """Take this person's last act back and give them the row again. Raises UserError when there is none, when
    somebody else has changed the row since, and when it lies before somebody else."""
    check_ready(dataset)
    person = _person(actor)
    act = last_act(dataset, person)
    if act is None:
        raise UserError("nothing_to_undo", _("There is nothing of yours to take back here."), status=409)
    example = undo_act(actor=actor, dataset=dataset, act=act)
    take_row(actor=actor, dataset=dataset, row=example.row)
    return example


def save_draft(*, actor: Actor, dataset: Dataset, row: int, messages: list[dict[str, Any]]) -> Draft:
    """Keep what was typed, whatever it is worth, until it is accepted; another device shows it too."""
    check_ready(dataset)
    person = _person(actor)
    clean: list[dict[str, Any]] = storable(messages)
    check_size(clean)
    if not visible(dataset).filter(row=row).exists():
        raise UserError("no_such_row", _("This dataset has no row %(n)s.") % {"n": row}, status=404)
    values = {"messages": clean, "updated_at": timezone.now()}
    draft, _created = Draft.objects.update_or_create(dataset=dataset, row=row, user=person, defaults=values)
    return draft


def discard_draft(*, actor: Actor, dataset: Dataset, row: int) -> None:
    """Forget what was typed."""
    Draft.objects.filter(dataset=dataset, row=row, user=_person(actor)).delete()


def assign_rows(
    *, actor: Actor, dataset: Dataset, filters: RowFilters, people: Sequence[User], count: int
) -> dict[str, int]:
    """Give the next ``count`` undecided rows that fit and are nobody's to these people, in turn, so that the shares
    differ by one row at most. Returns how many each got, by id."""
    check_ready(dataset)
    if not people:
        raise UserError("no_reviewers", _("Choose at least one person."), field="reviewers")
    if not 1 <= count <= MOST_ASSIGNED:
        most = f"{MOST_ASSIGNED:,}"
        raise UserError("bad_count", _("Give out between 1 and %(n)s rows.") % {"n": most}, field="count")
    shares = {person.pk: 0 for person in people}
    given, cursor = 0, 0
    while given < count:
        window = example_window(dataset, cursor, filters, size=BATCH)
        with transaction.atomic():
            hold_dataset(dataset)
            free = visible(dataset).filter(row__in=window.rows, decision=Decision.NONE, assigned_to=None)
            rows = list(free.order_by("row").values_list("pk", flat=True)[: count - given])
            for number, person in enumerate(people):
                mine = [pk for at, pk in enumerate(rows, given) if at % len(people) == number]
                shares[person.pk] += Example.objects.filter(pk__in=mine, assigned_to=None).update(assigned_to=person)
        given += len(rows)
        if window.end is None:
            break
        cursor = window.end
    _record(actor, dataset, "rows.assign", {"rows": given, "people": len(people)})
    return shares


def unassign_rows(*, actor: Actor, dataset: Dataset, person: User | None = None) -> int:
    """Take the rows back that were given to this person (None: to anybody). Returns how many."""
    check_ready(dataset)
    back = 0
    while True:
        rows = visible(dataset).filter(assigned_to__isnull=False)
        if person is not None:
            rows = rows.filter(assigned_to=person)
        with transaction.atomic():
            moved = Example.objects.filter(pk__in=list(rows.values_list("pk", flat=True)[:BATCH])).update(
                assigned_to=None
            )
        back += moved
        if not moved:
            break
    _record(actor, dataset, "rows.unassign", {"rows": back})
    return back


def _person(actor: Actor) -> User:
    if actor.user is None:
        sentence = _("Rows are given to a person: name one, or use a key that a person has made.")
        raise UserError("reviewer_needed", sentence, field="reviewer")
    return actor.user


def _still_mine(dataset: Dataset, person: User, locks: list[tuple[RowLock, bool]]) -> Card | None:
    """The card of the row this person holds, unless it is decided or the filters exclude it."""
    lock = next((lock for lock, fits in locks if lock.user_id == person.pk and fits), None)
    if lock is None:
        return None
    lock.expires_at = timezone.now() + timedelta(seconds=LOCK_SECONDS)
    if not RowLock.objects.filter(pk=lock.pk, user=person).update(expires_at=lock.expires_at):
        return None
    return card(dataset, lock)


def _take(dataset: Dataset, person: User, row: int) -> RowLock | None:
    """Lock the row for this person; None while it is somebody else's. One statement: insert, or take over the lock
    that has run out (and renew one's own)."""
    now = timezone.now()
    lock = RowLock(
        dataset=dataset, row=row, user=person, taken_at=now, expires_at=now + timedelta(seconds=LOCK_SECONDS)
    )
    taken = [(connection.ops.adapt_datetimefield_value(at)) for at in (lock.taken_at, lock.expires_at)]
    table, quote = RowLock._meta.db_table, connection.ops.quote_name
    name = {f: quote(_column(f)) for f in ("dataset", "row", "user", "taken_at", "expires_at")}
    old = quote(table)
    statement = f"""
        INSERT INTO {old} ({", ".join(name.values())}) VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT ({name["dataset"]}, {name["row"]}) DO UPDATE SET
            {name["taken_at"]} = CASE
                WHEN {old}.{name["user"]} = excluded.{name["user"]} AND {old}.{name["expires_at"]} > excluded.{name["taken_at"]}
                THEN {old}.{name["taken_at"]} ELSE excluded.{name["taken_at"]} END,
            {name["user"]} = excluded.{name["user"]}, {name["expires_at"]} = excluded.{name["expires_at"]}
        WHERE {old}.{name["user"]} = excluded.{name["user"]} OR {old}.{name["expires_at"]} <= %s
        RETURNING {quote("id")}
    """  # noqa: S608  # names of our own columns
    with connection.cursor() as cursor:
        cursor.execute(statement, [dataset.pk, row, person.pk, *taken, connection.ops.adapt_datetimefield_value(now)])
        found = cursor.fetchone()
    if found is None:
        return None
    lock.pk = found[0]
    return lock


def _column(name: str) -> str:
    field = RowLock._meta.get_field(name)
    assert isinstance(field, models.Field)
    return str(field.column)


def _record(actor: Actor, dataset: Dataset, act: str, data: dict[str, Any]) -> None:
    with transaction.atomic():
        record(actor=actor, project=actor.project, act=act, subject=f"dataset {dataset.pk}", data=data)
