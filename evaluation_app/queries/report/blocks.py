"""What a report is made of: sections of a few kinds of block. The page, the PDF and the printable page draw the same ones.

Texts are plain and in the reader's language. ``is_user`` marks what came from people's data or from a model: it is shown as
it is, never as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Tone = Literal["", "ok", "warn", "bad", "info", "idle"]


@dataclass(frozen=True)
class Mark:
    """A figure with its interval on a track from ``low`` to ``high``; ``reference`` is a dashed line. ``is_muted``: grey."""

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    low: float = 0.0
    high: float = 1.0
    reference: float | None = None
    is_muted: bool = False
    label: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell: its text, a smaller line below, a badge's tone (then the text is the badge's word), or a drawn mark."""

    text: str = ""
    note: str = ""
    tone: Tone = ""
    mark: Mark | None = None
    is_user: bool = False
    is_strong: bool = False


@dataclass(frozen=True)
class Column:
    """A head. Numbers stand at the right; ``share`` is how wide it is beside the others in print."""

    label: str
    is_number: bool = False
    share: float = 1.0


@dataclass(frozen=True)
class Row:
    """A line. ``is_small``: too few cases to say much, so it is greyed, and its note says so."""

    cells: Sequence[Cell]
    is_small: bool = False


@dataclass(frozen=True)
class Table:
    """A table; its first column heads the rows."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    title: str = ""
    note: str = ""
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Bar:
    """One bar of a group; ``series`` is its number in the legend."""

    series: int
    value: float | None
    words: str
    ci_low: float | None = None
    ci_high: float | None = None


@dataclass(frozen=True)
class BarGroup:
    """Bars that belong together, under one name."""

    name: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Bars:
    """Lying bars in groups, from 0 to ``high``. ``label`` says in a sentence what is shown, for those who cannot see it."""

    groups: Sequence[BarGroup]
    series: Sequence[str]
    label: str
    high: float = 1.0
    unit: str = "share"
    title: str = ""
    kind: ClassVar[str] = "bars"


@dataclass(frozen=True)
class Line:
    """One line of a plot. ``sizes`` (if any) are the cases behind each point."""

    name: str
    points: Sequence[tuple[float, float]]
    has_dots: bool = False


@dataclass(frozen=True)
class Curve:
    """Lines over a common scale; ``has_diagonal`` draws where both axes are equal. Shares are 0..1 on both axes."""

    lines: Sequence[Line]
    label: str
    x_name: str
    y_name: str
    has_diagonal: bool = False
    title: str = ""
    kind: ClassVar[str] = "curve"


@dataclass(frozen=True)
class ForestRow:
    """One model of the headline plot."""

    name: str
    words: str
    mark: Mark


@dataclass(frozen=True)
class Forest:
    """One figure of several models below one another, with intervals, on one scale."""

    rows: Sequence[ForestRow]
    label: str
    low: float = 0.0
    high: float = 1.0
    unit: str = "share"
    title: str = ""
    kind: ClassVar[str] = "forest"


@dataclass(frozen=True)
class Note:
    """A sentence with its tone (a word and a colour)."""

    tone: Tone
    text: str
    is_user: bool = False


@dataclass(frozen=True)
class Notes:
    """Sentences, one below the other."""

    items: Sequence[Note]
    title: str = ""
    kind: ClassVar[str] = "notes"


@dataclass(frozen=True)
class Facts:
    """Names and values. ``is_mono``: fingerprints and versions."""

    items: Sequence[tuple[str, str]]
    title: str = ""
    is_mono: bool = False
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class CaseCard:
    """One case: where it stands, what was asked, and named texts below (expected, answers, why)."""

    heading: str
    prompt: str
    parts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class CaseCards:
    """Cases with their answers."""

    cases: Sequence[CaseCard]
    title: str = ""
    note: str = ""
    is_folded: bool = False
    kind: ClassVar[str] = "cases"


Block = Table | Bars | Curve | Forest | Notes | Facts | CaseCards


@dataclass(frozen=True)
class Section:
    """A part of the report. ``key`` is its anchor; ``state`` and ``tone`` are the word beside the heading (or empty)."""

    key: str
    title: str
    sentence: str = ""
    blocks: Sequence[Block] = field(default_factory=tuple)
    term: str = ""
    state: str = ""
    tone: Tone = ""
