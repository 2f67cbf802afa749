"""What the native API of the review queue takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema

from datasets_app.api_schemas import ExampleOut
from datasets_app.operations.review import MOST_ASSIGNED


class Filters(Schema):
    """Which rows. Empty means all; nothing at all means those that need review. ``assigned`` is ``me`` or the e-mail
    address of a member."""

    status: str = ""
    code: str = ""
    label: str = ""
    split: str = ""
    q: str = ""
    assigned: str = ""


class NextIn(Filters):
    """Which row to be given. ``reviewer`` is the e-mail address of the member who looks at it; without one it is the
    person who made the key. ``after`` goes on with a search (``searched_to``)."""

    reviewer: str = ""
    after: int | None = Field(None, ge=0, le=2**31 - 1)
    came_round: bool = False


class CardOut(Schema):
    """The next row, held for the reviewer until ``held_until``. ``example`` null with ``searched_to``: not found so
    far, ask again with ``after``; null without: no row is left."""

    example: ExampleOut | None
    related: list[ExampleOut] = Field(default_factory=list)
    draft: list[dict[str, Any]] | None = None
    held_until: datetime | None = None
    reviewer: str
    searched_to: int | None = None
    came_round: bool = False


class DecisionIn(Schema):
    """What is decided. ``edit`` takes ``messages``, or ``prompt`` and/or ``answer`` (or ``label``). An edit that the
    checks still find something in is refused once with the findings; send ``confirmed`` to keep it."""

    row: int = Field(ge=1, le=2**31 - 1)
    action: Literal["accept", "reject", "edit", "skip"]
    messages: list[dict[str, Any]] | None = None
    prompt: str | None = None
    answer: str | None = None
    label: str | None = None
    lead_seconds: float | None = None
    confirmed: bool = False
    reviewer: str = ""


class NoteOut(Schema):
    """Something that the checks find in an edited text."""

    code: str
    message: str


class DecisionOut(Schema):
    """The row as it is now. ``saved`` is false for an edit with findings that was not confirmed."""

    saved: bool
    example: ExampleOut
    notes: list[NoteOut] = Field(default_factory=list)


class PersonIn(Schema):
    """For whom."""

    reviewer: str = ""


class DraftIn(PersonIn):
    """What was typed so far."""

    messages: list[dict[str, Any]]


class DraftOut(Schema):
    """What was typed so far, and when it was kept."""

    row: int
    messages: list[dict[str, Any]]
    updated_at: datetime


class HeldOut(Schema):
    """Whether the row is the reviewer's, and until when."""

    row: int
    held: bool
    held_until: datetime | None


class AssignIn(Filters):
    """Give the next ``count`` undecided rows that fit to these members, evenly."""

    reviewers: list[str] = Field(min_length=1, max_length=200)
    count: int = Field(ge=1, le=MOST_ASSIGNED)


class UnassignIn(Schema):
    """Take rows back: from one member, or from all."""

    reviewer: str = ""


class ShareOut(Schema):
    """A member and the rows given to them (counted to 1,000; then ``more`` is true)."""

    reviewer: str
    left: int
    more: bool = False


class SharesOut(Schema):
    """Everybody who may decide on rows."""

    data: list[ShareOut]
    next_cursor: str | None = None


class BulkIn(Filters):
    """Accept or reject all undecided rows that fit."""

    action: Literal["accept", "reject"]


class BulkOut(Schema):
    """A decision for many rows. ``done`` is false when time ran out: send ``continue``. Undone, ``rows`` are those that
    stay because somebody decided on them since."""

    id: int
    action: str
    filters: dict[str, str]
    rows: int
    done: bool
    undone: bool
    created_at: datetime


class BulkList(Schema):
    """The newest decisions for many rows."""

    data: list[BulkOut]
    next_cursor: str | None = None


class ProgressOut(Schema):
    """How far the review is: rows that needed it, and what the reviewer did."""

    reviewer: str
    decided: int
    waiting: int
    total: int
    mine_today: int
    mine: int
    skipped_today: int
    median_seconds: float | None
    assigned: int
    assigned_more: bool
