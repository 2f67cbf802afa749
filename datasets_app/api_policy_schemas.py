"""What the native API of decisions about data takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema
from pydantic import ConfigDict

from datasets_app.operations.mending import MOST_ROWS


class Rule(Schema):
    """One find-and-replace rule."""

    model_config = ConfigDict(extra="forbid")

    find: str
    replace: str = ""
    is_regex: bool = False


class PolicyIn(Schema):
    """What to change; a part that is left out stays as it is. ``cleaning`` null means the usual steps."""

    model_config = ConfigDict(extra="forbid")

    pii: dict[str, str] | None = None
    cleaning: list[str] | None = None
    replacements: list[Rule] | None = None
    boilerplate: list[str] | None = None


class DecidedOut(Schema):
    """Who decided, and when."""

    by: str | None
    at: datetime | None


class PolicyOut(Schema):
    """The project's decisions. ``pii`` has every kind; ``decided`` those (and ``cleaning``) that somebody decided."""

    pii: dict[str, str]
    cleaning: list[str] | None
    replacements: list[dict[str, Any]]
    boilerplate: list[str]
    decided: dict[str, DecidedOut]


class KindOut(Schema):
    """One kind of personal data in a dataset."""

    kind: str
    title: str
    rows: int
    action: str
    decided: DecidedOut


class KindList(Schema):
    """All kinds, the most frequent first."""

    data: list[KindOut]
    next_cursor: str | None = None


class StepOut(Schema):
    """One cleaning step. ``rows`` is how many rows it changed at the last check."""

    name: str
    title: str
    description: str
    is_on: bool
    rows: int


class StepList(Schema):
    """The steps in the order in which they run."""

    data: list[StepOut]
    next_cursor: str | None = None


class PreviewIn(Schema):
    """A plan to try out; what is left out is as the project decided. ``after`` is the row to begin after."""

    model_config = ConfigDict(extra="forbid")

    cleaning: list[str] | None = None
    replacements: list[Rule] | None = None
    boilerplate: list[str] | None = None
    after: int = Field(0, ge=0, lt=2**31)


class PieceOut(Schema):
    """A stretch of text: in both (``same``), only before (``del``), only after (``ins``)."""

    kind: str
    text: str


class ChangedText(Schema):
    """One text that the plan changes."""

    row: int
    column: str
    steps: list[str]
    pieces: list[PieceOut]


class PreviewOut(Schema):
    """What a plan would do: ``changed`` of ``looked_at`` rows change, the first are in ``data``."""

    data: list[ChangedText]
    looked_at: int
    changed: int
    next_cursor: str | None


class MendRowIn(Schema):
    """One row's new text."""

    model_config = ConfigDict(extra="forbid")

    row: int = Field(..., ge=1, lt=2**31)
    prompt: str | None = None
    answer: str | None = None


class MendIn(Schema):
    """New texts of rows; ``answer`` is the label of a classification. A part that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    rows: list[MendRowIn] = Field(..., max_length=MOST_ROWS)


class MendedOut(Schema):
    """A row after the attempt. ``error`` says why it still is out."""

    row: int
    accepted: bool
    error: str | None
    field: str | None
    notes: list[str]


class MendedList(Schema):
    """The rows in the order given."""

    data: list[MendedOut]


class MemberOut(Schema):
    """One row of a group."""

    row: int
    status: str
    decision: str | None
    prompt: str
    answer: str


class GroupOut(Schema):
    """Rows that belong together; ``id`` is the first. ``rows`` may name more than ``members`` shows."""

    id: int
    kind: str
    is_open: bool
    rows: list[int]
    members: list[MemberOut]


class GroupList(Schema):
    """One page of groups; a page may be short and still have a cursor."""

    data: list[GroupOut]
    next_cursor: str | None


class GroupChange(Schema):
    """``keep`` accepts the rows in ``rows`` and rejects the others; ``keep_first``, ``keep_all`` and ``undo`` take none."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["keep", "keep_first", "keep_all", "undo"]
    rows: list[int] = Field(default_factory=list, max_length=1_000)


class SpellingOut(Schema):
    """A rare spelling of a label and the usual one."""

    found: str
    usual: str
    rows: int
    changed: int


class SpellingList(Schema):
    """The most frequent first."""

    data: list[SpellingOut]
    next_cursor: str | None = None


class SpellingChange(Schema):
    """``use`` writes the usual spelling in every undecided row, ``undo`` takes that back."""

    model_config = ConfigDict(extra="forbid")

    found: str
    action: Literal["use", "undo"] = "use"
