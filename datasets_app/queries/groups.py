"""Rows that say the same or the opposite of each other, in groups: contradictions and near-duplicates.

A group is named by its first row. It is open while one of its rows waits for a decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby

from django.db.models import Count, F, Q, QuerySet
from django.utils.translation import gettext as _

from datasets_app.choices import Decision, Status
from datasets_app.chunks import row_texts
from datasets_app.models import Dataset, Example, Finding
from datasets_app.queries.rows import ExampleRow, visible
from datasets_app.word_diff import Piece, clipped, word_diff
from finetune_engine.errors import UserError

PAGE_GROUPS = 5
SHOWN_MEMBERS = 8
LONGEST_STRETCH = 2_000  # characters shown without a break
LONGEST_CELL = 10_000  # characters of an answer that can be corrected beside the others
ANCHORS_AT_ONCE = 100
MEMBERS_AT_ONCE = 2_000  # rows that one look may bring; of a larger group only these are seen
MOST_ROUNDS = 2  # how often a page looks further for an open group
CONTRADICTION, NEAR = "contradiction", "near"
KINDS = (CONTRADICTION, NEAR)


@dataclass(frozen=True)
class Side:
    """A stretch of one member's text, marked where the other text differs."""

    text: str
    is_marked: bool


@dataclass(frozen=True)
class Member:
    """One row of a group, compared with the first (the first with the second)."""

    row: ExampleRow
    prompt: list[Side]
    answer: list[Side]

    @property
    def is_long(self) -> bool:
        """Whether the answer is too long to be corrected here."""
        return len(self.row.answer) > LONGEST_CELL

    @property
    def number(self) -> int:
        """Its row."""
        return self.row.example.row


@dataclass(frozen=True)
class Group:
    """Rows that belong together. ``more`` counts those that are not shown in ``members``."""

    kind: str
    anchor: int
    rows: list[int]
    members: list[Member]
    is_open: bool

    @property
    def more(self) -> int:
        """How many rows are not shown."""
        return len(self.rows) - len(self.members)

    @property
    def is_decided(self) -> bool:
        """Whether a person has decided on a shown row, so that there is something to undo."""
        return any(member.row.example.decision for member in self.members)


@dataclass(frozen=True)
class GroupPage:
    """Some groups; ``next_cursor`` is the first row of the last group that was looked at, None at the end."""

    items: list[Group]
    next_cursor: int | None


@dataclass(frozen=True)
class Repetition:
    """An exact duplicate and the row it repeats."""

    example: Example
    of_row: int | None


@dataclass(frozen=True)
class SpellingVariant:
    """A rare spelling of a label. ``rows`` carry it in the file; ``changed`` of them were given the usual one."""

    found: str
    usual: str
    rows: int
    changed: int

    @property
    def left(self) -> int:
        """Rows that still carry it."""
        return max(0, self.rows - self.changed)


def group_page(
    dataset: Dataset, kind: str, after: int = 0, *, with_settled: bool = False, limit: int = PAGE_GROUPS
) -> GroupPage:
    """Groups whose first row comes after row ``after``: the open ones, or all. A page looks at a bounded number of rows
    and may be short; go on with its cursor. Raises UserError for an unknown kind."""
    find = _finder(kind)
    chosen: list[tuple[list[int], bool]] = []
    cursor: int | None = after
    for _round in range(MOST_ROUNDS):
        assert cursor is not None
        found, cursor = find(dataset, cursor)
        for rows, is_open in found:
            if is_open or with_settled:
                chosen.append((rows, is_open))
            if len(chosen) > limit:
                chosen.pop()
                cursor = chosen[-1][0][0]
                break
        if cursor is None or len(chosen) >= limit:
            break
    return GroupPage(_with_members(dataset, kind, chosen), cursor)


def group_at(dataset: Dataset, kind: str, anchor: int) -> Group:
    """The group whose first row is ``anchor``. Raises UserError (404) when there is none."""
    found = _finder(kind)(dataset, anchor - 1)[0] if anchor > 0 else []
    rows, is_open = next(((rows, is_open) for rows, is_open in found if rows[0] == anchor), ([], False))
    if not rows:
        raise UserError("no_such_group", _("No group of this kind begins with row %(n)s.") % {"n": anchor}, status=404)
    return _with_members(dataset, kind, [(rows, is_open)])[0]


def repetitions(dataset: Dataset, after: int = 0, limit: int = 25) -> tuple[list[Repetition], int | None]:
    """Exact duplicates after row ``after`` with the row each repeats, and where to go on (None at the end)."""
    found = _findings(dataset, "duplicate_exact").filter(row__gt=after).order_by("row")
    pairs = list(found.values_list("row", "related_row")[: limit + 1])
    shown = dict(pairs[:limit])
    examples = visible(dataset).filter(row__in=list(shown)).order_by("row")
    cursor = pairs[limit - 1][0] if len(pairs) > limit else None
    return [Repetition(example, shown[example.row]) for example in examples], cursor


def spelling_variants(dataset: Dataset, limit: int = 50) -> list[SpellingVariant]:
    """Rare spellings of labels with the usual one, the most frequent first (from the first rows that have them)."""
    found = _findings(dataset, "label_variants").order_by("row")
    pairs = list(dict.fromkeys(found.values_list("found", "expected")[:MEMBERS_AT_ONCE]))[:limit]
    carrying = (
        visible(dataset).filter(label__in=[name for name, _usual in pairs if name]).exclude(status=Status.REJECTED)
    )
    edited = Count("pk", filter=Q(decision=Decision.EDIT))
    counts = {name: (n, m) for name, n, m in carrying.values_list("label").annotate(n=Count("pk"), m=edited)}
    variants = [SpellingVariant(name, usual, *counts[name]) for name, usual in pairs if usual and name in counts]
    return sorted(variants, key=lambda one: -one.rows)


def _findings(dataset: Dataset, code: str) -> QuerySet[Finding]:
    return Finding.objects.filter(dataset=dataset, import_attempt=dataset.visible_attempt, code=code)


Found = tuple[list[tuple[list[int], bool]], int | None]


def _finder(kind: str) -> Callable[[Dataset, int], Found]:
    finders = {CONTRADICTION: _contradictions, NEAR: _clusters}
    if kind not in finders:
        sentence = _("A kind of group is one of %(kinds)s.") % {"kinds": ", ".join(finders)}
        raise UserError("unknown_kind", sentence, field="kind")
    return finders[kind]


def _contradictions(dataset: Dataset, after: int) -> Found:
    """Groups that begin after row ``after``: rows joined by the findings that point from one to another."""
    pointing = _findings(dataset, CONTRADICTION).filter(row__gt=after, related_row__gt=F("row")).order_by("row")
    pairs = list(pointing.values_list("row", "related_row")[:ANCHORS_AT_ONCE])
    if not pairs:
        return [], None
    ends = {row for pair in pairs for row in pair}
    others = _findings(dataset, CONTRADICTION).filter(related_row__in=ends)
    groups = _joined([*pairs, *others.values_list("row", "related_row")[:MEMBERS_AT_ONCE]])
    anchors = {pair[0] for pair in pairs}
    ours = [rows for rows in groups if rows[0] in anchors]
    open_rows = _open_rows(dataset, [row for rows in ours for row in rows])
    cursor = pairs[-1][0] if len(pairs) == ANCHORS_AT_ONCE else None
    return [(rows, any(row in open_rows for row in rows)) for rows in ours], cursor


def _clusters(dataset: Dataset, after: int) -> Found:
    """Clusters of near-duplicates that begin after row ``after``."""
    rows = visible(dataset).filter(cluster__gt=after).order_by("cluster", "row")
    entries = list(rows.values_list("cluster", "row", "status")[:MEMBERS_AT_ONCE])
    found: list[tuple[list[int], bool]] = []
    for _cluster, group in groupby(entries, key=lambda entry: entry[0]):
        members = list(group)
        found.append(([entry[1] for entry in members], any(entry[2] == Status.NEEDS_REVIEW for entry in members)))
    if len(entries) < MEMBERS_AT_ONCE:
        return found, None
    if len(found) > 1:
        found.pop()  # it may go on
    return found, found[-1][0][0]


def _joined(pairs: Iterable[tuple[int, int | None]]) -> list[list[int]]:
    """The connected groups of these pairs, each ascending, in the order of their first rows."""
    leader: dict[int, int] = {}

    def top(row: int) -> int:
        while leader.setdefault(row, row) != row:
            leader[row] = leader[leader[row]]
            row = leader[row]
        return row

    for one, other in pairs:
        if other is not None:
            first, second = sorted((top(one), top(other)))
            leader[second] = first
    groups: dict[int, list[int]] = {}
    for row in sorted(leader):
        groups.setdefault(top(row), []).append(row)
    return [groups[first] for first in sorted(groups)]


def _open_rows(dataset: Dataset, rows: list[int]) -> set[int]:
    waiting = visible(dataset).filter(row__in=rows[:MEMBERS_AT_ONCE], status=Status.NEEDS_REVIEW)
    return set(waiting.values_list("row", flat=True))


def _with_members(dataset: Dataset, kind: str, groups: list[tuple[list[int], bool]]) -> list[Group]:
    shown = [row for rows, _is_open in groups for row in rows[:SHOWN_MEMBERS]]
    examples = list(visible(dataset).filter(row__in=shown).select_related("decided_by"))
    texts = row_texts(dataset, examples)
    full = {example.row: ExampleRow(example, texts[example.row], []) for example in examples}
    out = []
    for rows, is_open in groups:
        members = _compared([full[row] for row in rows[:SHOWN_MEMBERS] if row in full])
        out.append(Group(kind, rows[0], rows, members, is_open))
    return out


def _compared(rows: list[ExampleRow]) -> list[Member]:
    members = []
    for place, row in enumerate(rows):
        other = rows[0] if place else rows[min(1, len(rows) - 1)]
        prompt = _side(clipped(word_diff(other.prompt, row.prompt)))
        members.append(Member(row, prompt, _side(clipped(word_diff(other.answer, row.answer)))))
    return members


def _side(pieces: list[Piece]) -> list[Side]:
    """What stands in the second text: without what only the first has, long stretches cut."""
    sides = []
    for piece in pieces:
        if piece.kind != "del":
            cut = " \N{HORIZONTAL ELLIPSIS}" if len(piece.text) > LONGEST_STRETCH else ""
            sides.append(Side(piece.text[:LONGEST_STRETCH] + cut, piece.kind == "ins"))
    return sides
