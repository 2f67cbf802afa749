"""How a row is called in a sentence: by its number in its own file, with the file's name when there are several."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from finetune_engine.data.records import Finding, quoted

_LINE = re.compile(r"^(Row \d+) \(line (\d+) of the file\)")


@dataclass
class RowNames:
    """The files of a set in order: their names, the sheet that was read of each (None: no workbook; no list: none is
    one), and how many rows come before each."""

    names: list[str]
    sheets: list[str | None] = field(default_factory=list)
    rows_before: list[int] = field(default_factory=list)

    def source_of(self, row: int) -> int:
        """The file (from 0) of a row that is counted over all files."""
        return bisect_right(self.rows_before, row - 1) - 1

    def in_file(self, row: int) -> int:
        """The number of a row in its own file."""
        return row - self.rows_before[self.source_of(row)]

    def said(self, row: int) -> str:
        """``row 7``, or ``row 7 of b.csv`` when there are several files."""
        if len(self.names) == 1:
            return f"row {row}"
        source = self.source_of(row)
        return f"row {row - self.rows_before[source]} of {self.names[source]}"

    def place(self, finding: Finding, source: int) -> Finding:
        """The finding, whose row counts in its file, with its row counted over all files and its file named in the
        sentence when there are several (changed in place). A workbook has rows of a sheet, not lines."""
        if self.sheets and (sheet := self.sheets[source]) is not None:
            named = f"of the sheet {quoted(sheet)}"
            finding.message = _LINE.sub(lambda found: f"{found[1]} (row {found[2]} {named})", finding.message)
        if len(self.names) > 1:
            head = f"Row {finding.row}"
            if finding.message.startswith(head):
                finding.message = f"{head} of {self.names[source]}{finding.message[len(head) :]}"
            finding.row += self.rows_before[source]
        return finding
