"""The review queue: which row comes next for a person, what its card shows, and how far everybody is.

Nothing here grows with the dataset: the next row is found by walking an index from where the person stands, and
progress is read from tallies.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import Exists, F, Func, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum
from django.utils import timezone

from accounts_app.choices import ROLE_ACTS
from accounts_app.choices import Act as Right
from accounts_app.models import Membership, User
from datasets_app.choices import Act, Decision, Status
from datasets_app.chunks import row_texts
from datasets_app.models import BulkAct, Dataset, Draft, Example, ReviewAct, ReviewTally, RowLock
from datasets_app.queries.rows import ExampleRow, RowFilters, example_rows, findings_of, narrowed, visible

FIRST_WINDOW = 200  # rows of the leading filter that the first look for the next row goes through: mostly enough
QUEUE_WINDOW = 2_000  # the same for those that follow
MOST_LOOKS = 3
RECENT_ACTS = 100
MOST_RELATED = 3
COUNTED_TO = 1_000  # rows given to a person are counted so far, no further
DEFAULT_FILTERS = RowFilters(status=Status.NEEDS_REVIEW)


@dataclass(frozen=True)
class Standing:
    """Where a person stands in a dataset's queue: the row of their last act, and the median of the seconds that
    their last acts took (None: unknown)."""

    row: int = 0
    median_seconds: float | None = None


@dataclass(frozen=True)
class NextRow:
    """The next row for a person. None with ``searched_to``: not found so far, look further from there; None without:
    there is none. ``came_round`` is true when the end was passed and the search began again at the first row."""

    row: int | None
    searched_to: int | None = None
    came_round: bool = False


@dataclass(frozen=True)
class Progress:
    """How far the review is. ``decided`` and ``waiting`` are rows of the whole dataset that needed or need review;
    the rest is of one person. ``assigned`` stops counting at ``COUNTED_TO``."""

    decided: int
    waiting: int
    mine_today: int
    mine: int
    skipped_today: int
    median_seconds: float | None
    assigned: int

    @property
    def total(self) -> int:
        """Rows that needed review at any time."""
        return self.decided + self.waiting

    @property
    def assigned_is_more(self) -> bool:
        """Whether ``assigned`` stands for "so many or more"."""
        return self.assigned > COUNTED_TO


@dataclass(frozen=True)
class Sums:
    """Tallies summed up: rows of the dataset that left "needs review", and what one person did."""

    settled: int
    decided_by_me: int
    decided_today: int
    skipped_today: int


@dataclass(frozen=True)
class Card:
    """What lies before a person: a row in full, their draft, and the rows it was compared with."""

    row: ExampleRow
    draft: list[dict[str, Any]] | None
    related: list[ExampleRow]
    sums: Sums
    assigned_left: int
    taken_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class ReviewerShare:
    """A member who may decide on rows, and how many are given to them (counted to ``COUNTED_TO``)."""

    user: User
    left: int


def standing(dataset: Dataset, user: User) -> Standing:
    """Where this person stands."""
    acts = ReviewAct.objects.filter(dataset=dataset, user=user).order_by("-pk")
    recent = list(acts.values_list("row", "undone_at", "action", "lead_seconds")[:RECENT_ACTS])
    row = next((row for row, undone_at, _action, _lead in recent if undone_at is None), 0)
    leads = [lead for _row, _undone, action, lead in recent if lead is not None and action != Act.SKIP]
    return Standing(row, statistics.median(leads) if leads else None)


def next_row(
    dataset: Dataset,
    filters: RowFilters,
    *,
    after: int,
    without: Sequence[int] = (),
    came_round: bool = False,
    looks: int = MOST_LOOKS,
    is_continued: bool = False,
) -> NextRow:
    """The next undecided row after ``after`` that fits, beginning again at the first row once.

    ``without`` are rows that lie before somebody else. ``looks`` is how many windows may be gone through; the
    first is small unless a search ``is_continued``.
    """

    def free(rows: QuerySet[Example]) -> QuerySet[Example]:
        return rows.filter(decision=Decision.NONE).exclude(row__in=list(without))

    if filters == DEFAULT_FILTERS:  # undecided by nature: the index of the status gives them one by one
        looks = max(2, looks)
    cursor: int | None = after
    window = QUEUE_WINDOW if is_continued else FIRST_WINDOW
    while cursor is not None:
        if not looks:
            return NextRow(None, searched_to=cursor, came_round=came_round)
        looks -= 1
        page = _first_free(dataset, filters, cursor, free, window)
        window = QUEUE_WINDOW
        if page.items:
            return NextRow(page.items[0].row, came_round=came_round)
        cursor = page.searched_to
        if cursor is None and after and not came_round:
            cursor, came_round = 0, True
    return NextRow(None, came_round=came_round)


def _first_free(dataset: Dataset, filters: RowFilters, cursor: int, free: Any, window: int) -> Any:
    if filters == DEFAULT_FILTERS:
        rows = free(visible(dataset).filter(status=filters.status, row__gt=cursor)).order_by("row")[:1]
        return _Found(list(rows))
    return example_rows(dataset, cursor, filters, limit=1, window=window, narrow=free)


@dataclass(frozen=True)
class _Found:
    items: list[Example]
    searched_to: None = None


def live_locks(dataset: Dataset, filters: RowFilters | None = None) -> list[tuple[RowLock, bool]]:
    """The rows that lie on people's screens now, the newest first; there are few. With each, whether its row is
    undecided and fits the filters."""
    same = visible(dataset).filter(row=OuterRef("row"), decision=Decision.NONE)
    locks = RowLock.objects.filter(dataset=dataset, expires_at__gt=timezone.now()).order_by("-taken_at", "-pk")
    found: list[Any] = list(locks.annotate(fits=Exists(narrowed(same, filters or RowFilters()))))
    return [(lock, lock.fits) for lock in found]


def card(dataset: Dataset, lock: RowLock) -> Card | None:
    """The card of a locked row; None when the row is gone. Two queries: what was found in the row, and the row with
    those that its findings point to."""
    findings = findings_of(dataset, [lock.row])[lock.row]
    related = dict.fromkeys(f.related_row for f in findings if f.related_row and f.related_row != lock.row)
    numbers = [lock.row, *list(related)[:MOST_RELATED]]
    found = visible(dataset).filter(row__in=numbers).annotate(**_beside_a_card(dataset, lock)).order_by("row")
    examples: list[Any] = list(found.select_related("decided_by"))  # rows with what ``_beside_a_card`` adds
    mine = next((example for example in examples if example.row == lock.row), None)
    if mine is None:
        return None
    texts = row_texts(dataset, examples)
    rows = {example.row: ExampleRow(example, texts[example.row], []) for example in examples}
    return Card(
        row=replace(rows[lock.row], findings=findings),
        draft=mine.draft,
        related=[rows[number] for number in numbers[1:] if number in rows],
        sums=Sums(mine.settled or 0, mine.decided_by_me or 0, mine.decided_today or 0, mine.skipped_today or 0),
        assigned_left=mine.given or 0,
        taken_at=lock.taken_at,
        expires_at=lock.expires_at,
    )


def _beside_a_card(dataset: Dataset, lock: RowLock) -> dict[str, Any]:
    """What is read along with the row of a card, to spare queries: the draft, the person's share, and the sums of
    the tallies. None of it depends on the row but the draft."""
    drafts = Draft.objects.filter(dataset=dataset, user_id=lock.user_id, row=OuterRef("row"))
    given = visible(dataset).filter(assigned_to_id=lock.user_id).order_by("row").values("pk")[: COUNTED_TO + 1]
    counted = Example.objects.filter(pk__in=given).order_by().annotate(n=_count_all()).values("n")
    tallies = ReviewTally.objects.filter(dataset=dataset).order_by()
    mine = tallies.filter(user_id=lock.user_id)
    today = mine.filter(day=timezone.now().date())
    return {
        "draft": Subquery(drafts.values("messages")[:1]),
        "given": Subquery(counted),
        "settled": _sum_of(tallies, "settled"),
        "decided_by_me": _sum_of(mine, "decided"),
        "decided_today": _sum_of(today, "decided"),
        "skipped_today": _sum_of(today, "skipped"),
    }


def _sum_of(tallies: QuerySet[ReviewTally], name: str) -> Subquery:
    total = Func(F(name), function="SUM", output_field=IntegerField())
    return Subquery(tallies.annotate(n=total).values("n"))


def sums_of(dataset: Dataset, user: User | None) -> Sums:
    """The tallies of the dataset and this person, summed up."""
    mine, today = Q(user=user), Q(day=timezone.now().date())
    sums = ReviewTally.objects.filter(dataset=dataset).aggregate(
        all_settled=Sum("settled"),
        my_decided=Sum("decided", filter=mine),
        my_decided_today=Sum("decided", filter=mine & today),
        my_skipped_today=Sum("skipped", filter=mine & today),
    )
    return Sums(*(sums[name] or 0 for name in ("all_settled", "my_decided", "my_decided_today", "my_skipped_today")))


def progress(dataset: Dataset, sums: Sums, *, median_seconds: float | None, assigned: int) -> Progress:
    """How far the dataset and a person are."""
    return Progress(
        decided=max(0, sums.settled),
        waiting=dataset.needs_review,
        mine_today=max(0, sums.decided_today),
        mine=max(0, sums.decided_by_me),
        skipped_today=max(0, sums.skipped_today),
        median_seconds=median_seconds,
        assigned=assigned,
    )


def assigned_left(dataset: Dataset, user: User) -> int:
    """How many rows are given to this person, counted to ``COUNTED_TO`` and one."""
    return len(visible(dataset).filter(assigned_to=user).values_list("pk")[: COUNTED_TO + 1])


def reviewers(dataset: Dataset) -> list[ReviewerShare]:
    """The members who may decide on rows, with how many are given to each."""
    given = visible(dataset).filter(assigned_to=OuterRef(OuterRef("pk"))).order_by("row").values("pk")
    counted = Example.objects.filter(pk__in=given[: COUNTED_TO + 1]).order_by().annotate(n=_count_all()).values("n")
    people = User.objects.filter(pk__in=_may_review(dataset).values("user")).annotate(given=Subquery(counted))
    return [ReviewerShare(person, person.given or 0) for person in people.order_by("name", "email")[:200]]


def reviewer_named(dataset: Dataset, email: str) -> User | None:
    """The member with this address who may decide on rows."""
    return User.objects.filter(pk__in=_may_review(dataset).values("user"), email=email.strip().lower()).first()


def _may_review(dataset: Dataset) -> QuerySet[Membership]:
    roles = [role for role, acts in ROLE_ACTS.items() if Right.REVIEW in acts]
    return Membership.objects.filter(project_id=dataset.project_id, role__in=roles)


def last_act(dataset: Dataset, user: User) -> ReviewAct | None:
    """The person's last act that was not taken back."""
    acts = ReviewAct.objects.filter(dataset=dataset, user=user, undone_at=None)
    return acts.select_related("user").order_by("-pk").first()


def recent_bulk_acts(dataset: Dataset, most: int = 5) -> list[BulkAct]:
    """The newest acts on many rows, newest first."""
    return list(BulkAct.objects.filter(dataset=dataset).select_related("user").order_by("-pk")[:most])


def _count_all() -> Func:
    return Func(F("pk"), function="COUNT", output_field=IntegerField())
