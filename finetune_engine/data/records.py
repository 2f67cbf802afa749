"""The small things that travel between readers, formats and checks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

Message = dict[str, Any]


@dataclass(slots=True)
class Finding:
    """Something noticed about one row.

    ``message`` is the predicate of a sentence ("has no answer.") until the row's place is put before it by
    ``placed``. ``column`` is a column name, a path such as ``messages[2].content`` or the character column of
    a mistake in JSON. ``start`` and ``end`` are character offsets into the text that ``column`` names.
    ``found`` never holds personal data. ``None`` means "does not apply".
    """

    code: str
    message: str
    row: int = 0
    column: str | None = None
    start: int | None = None
    end: int | None = None
    found: str | None = None
    expected: str | None = None
    fix: str | None = None
    related_row: int | None = None
    kind: str | None = None  # of personal data, for the code ``pii``

    def placed(self, row: int, line: int | None = None, sheet: str | None = None) -> Finding:
        """The same finding as a whole sentence about ``row`` (changed in place and returned)."""
        self.row = row
        self.message = f"{where(row, line, sheet)} {self.message}"
        return self


@dataclass(slots=True)
class RawRecord:
    """One record as it stands in the file.

    ``row`` counts records from 1; ``line`` is the line of the file (or spreadsheet row) it starts on, None
    when the container has no lines. ``value`` is None when it could not be read, and then ``findings`` says why.
    ``sheet`` names the sheet of a workbook.
    """

    row: int
    line: int | None
    value: dict[str, Any] | None
    original: str
    findings: list[Finding] = field(default_factory=list)
    sheet: str | None = None


@dataclass(slots=True)
class Draft:
    """What a format made of a record. ``messages`` is empty when the record cannot be used.

    ``instruction`` is the first part of a prompt of several parts: only the rest is compared with other rows.
    ``rejected`` holds the messages of the worse answer when the row is a preference pair (``messages`` then end with
    the better one); ``desirable`` says whether the one answer of the row is wanted, None when the row does not say.
    ``group`` is the value of the mapping's group column: rows of one group are never split up.
    """

    messages: list[Message] = field(default_factory=list)
    label: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    split: str | None = None
    instruction: str = ""
    findings: list[Finding] = field(default_factory=list)
    rejected: list[Message] = field(default_factory=list)
    desirable: bool | None = None
    group: str | None = None


@dataclass(frozen=True)
class Mapping:
    """Which columns hold what. ``metadata`` None keeps every column that has no other part.

    ``prompt_template`` joins several columns into one prompt, such as ``"{title}\n\n{body}"``; ``prompt`` then names
    the columns of the template. ``lists`` names the lists to read when the file is one object of lists; None reads all.
    """

    prompt: tuple[str, ...]
    completion: str
    system: str | None = None
    label: str | None = None
    metadata: tuple[str, ...] | None = None
    group: str | None = None
    split: str | None = None
    prompt_template: str | None = None
    lists: tuple[str, ...] | None = None

    def used(self) -> frozenset[str]:
        """Columns with a part of their own."""
        return frozenset(c for c in (*self.prompt, self.completion, self.system, self.split) if c)

    def as_dict(self) -> dict[str, Any]:
        """JSON form, as in the options."""
        out = {key: value for key, value in asdict(self).items() if value is not None}
        out["prompt"] = list(self.prompt)
        for key in ("metadata", "lists"):
            if key in out:
                out[key] = list(out[key])
        return out


def where(row: int, line: int | None, sheet: str | None = None) -> str:
    """``Row 7``, with the line of the file (or the row of the sheet) where that is another number."""
    if sheet is not None and line is not None:
        return f"Row {row} (row {line} of the sheet {quoted(sheet)})"
    return f"Row {row}" if line is None or line == row else f"Row {row} (line {line} of the file)"


def kind_of(value: object) -> str:
    """What a JSON value is, in words: findings name the kind, never the value, which may be personal."""
    if isinstance(value, bool):
        return "true or false"
    kinds = ((dict, "an object"), (list, "a list"), (str, "a text"), (int | float, "a number"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "nothing")


def quoted(value: object, limit: int = 60) -> str:
    """A value as it may be shown in a sentence: short, on one line."""
    text = " ".join(str(value).split())
    return f"“{text if len(text) <= limit else text[: limit - 1] + '…'}”"
