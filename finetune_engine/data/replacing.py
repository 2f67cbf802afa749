"""Find-and-replace rules that people write: literal texts, or patterns whose time grows with the text alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# A rule may make a text longer, but not without end: rules that feed each other would fill the memory.
_GROWTH = 4
_ROOM = 100_000


@dataclass(frozen=True)
class Replacement:
    """``find`` becomes ``replace``; with ``is_regex`` a pattern in Rust's syntax, where ``$1`` is its first group."""

    find: str
    replace: str = ""
    is_regex: bool = False

    def fault(self) -> str | None:
        """Why the rule cannot be used, as the rest of a sentence; None when it can."""
        if not self.is_regex:
            return None
        import polars as pl
        from polars.exceptions import PolarsError

        try:
            matches_nothing = bool(pl.Series([""]).str.contains(self.find).item())
        except PolarsError as error:
            return _reason(str(error))
        if matches_nothing:
            return "its pattern also matches nothing at all, so it would act between all letters."
        return None


def _reason(error: str) -> str:
    if "look-around" in error:
        return "patterns that look ahead or behind, such as (?=...) and (?<!...), are not supported."
    if "backreference" in error:
        return "patterns that refer to an earlier group, such as \\1, are not supported."
    if "size limit" in error:
        return "its pattern is too large. Use smaller numbers of repetitions."
    reasons = re.findall(r"error: ([^\n]+)", error)
    return f"its pattern is not valid ({reasons[-1].strip() if reasons else 'it could not be read'})."


def replace_all(text: str, rules: Sequence[Replacement]) -> str:
    """The text after all rules, in order. A rule that would make it many times longer is passed over."""
    limit = max(_GROWTH * len(text), _ROOM)
    for rule in rules:
        changed = _replaced(text, rule)
        if len(changed) <= limit:
            text = changed
    return text


def _replaced(text: str, rule: Replacement) -> str:
    if not rule.is_regex:
        return text.replace(rule.find, rule.replace)
    import polars as pl

    return str(pl.Series([text]).str.replace_all(rule.find, rule.replace).item())


def as_json(rule: Replacement) -> Replacement:
    """A literal rule as its text is written inside JSON."""
    import json

    return Replacement(json.dumps(rule.find, ensure_ascii=False)[1:-1])


def rules_may_match(column: pl.Series, rules: Sequence[Replacement]) -> pl.Series:
    """Which texts hold what any of the rules looks for."""
    import polars as pl

    found = pl.repeat(False, len(column), eager=True)
    literals = [rule.find for rule in rules if not rule.is_regex]
    if literals:
        frame = column.to_frame("text")
        found |= frame.select(pl.col("text").str.contains_any(literals))["text"].fill_null(False)
    for rule in rules:
        if rule.is_regex:
            found |= column.str.contains(rule.find).fill_null(False)
    return found
