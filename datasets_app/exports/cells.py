"""Cells of tables that people open in a spreadsheet."""

from __future__ import annotations

import re

_BLANKS = " \t\r\n\u00a0\ufeff"
_FORMULA = ("=", "+", "-", "@")
_NO_CELL_HOLDS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def guarded(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula: such a one gets an apostrophe before it.

    Characters that no spreadsheet can hold become the replacement character.
    """
    clean = _NO_CELL_HOLDS.sub("\N{REPLACEMENT CHARACTER}", text)
    risky = text.lstrip(_BLANKS).startswith(_FORMULA) or text.startswith(("\t", "\r"))
    return f"'{clean}" if risky else clean
