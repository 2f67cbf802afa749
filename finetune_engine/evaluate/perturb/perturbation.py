"""What a perturbation is, and how one is put on a prompt without touching what must stay.

To add one, write a module in this package with ``PERTURBATIONS = (Perturbation(...), ...)``. The ``change`` of each
gets the text and a random generator that is seeded by the example, so that every run changes the same letters. It
returns the changed text, or the text as it was where it does not apply (capitals in Thai, say): such cases are left
out and counted. Placeholders, addresses and lists of labels never reach ``change``: they are hidden behind single
characters of Unicode's private area, which are no letters, digits, spaces or punctuation, and which must come back
once each.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

Test = Literal["typo_resistance", "format_flexibility"]

_KEPT = re.compile(
    r"\[[A-Z][A-Z_]*_\d{1,6}\]"  # marks of masked personal data, such as [EMAIL_1]
    r"|\{\{[^{}\n]{1,80}\}\}|\{[A-Za-z_]\w{0,40}\}"  # slots of templates
    r"|https?://\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
)
_BETWEEN_LABELS = re.compile(
    r"""[\s"'`“”‘’«»\[\](){}*•|;:,/.–—-]*(?:(?:or|and|und|oder|et|ou|y|o)\b)?[\s"'`“”‘’*•\[({-]*"""
)
_LONGEST_GAP = 12
_LINE_START = re.compile(r"""(?:^|\n)[ \t]*(?:[-*•]|\d{1,3}[.)])?[ \t]*["'`“*]{0,2}$""")
_LINE_REST = re.compile(r"""["'`”*]{0,2}[ \t]*(?:[:=–—-]|\n|$)""")
_HIDING = range(0xF0000, 0xFFFFE)


@dataclass(frozen=True)
class Perturbation:
    """One way to change a text. ``kind`` and ``level`` name it; ``when`` opens the sentence of a finding ("When ...")."""

    kind: str
    level: str
    test: Test
    when: str
    change: Callable[[str, random.Random], str]

    @property
    def key(self) -> str:
        """The name under which its results are kept."""
        return f"{self.kind}:{self.level}"


def perturbed(perturbation: Perturbation, text: str, row: int, labels: Sequence[str] = ()) -> str | None:
    """The changed text; None where the perturbation does not apply. The same row gives the same change.

    ``labels`` are the answers to choose from: where the text lists them, the list stays.
    Raises ValueError when the perturbation lost or doubled something that must stay.
    """
    hidden, kept = _hide(text, labels)
    changed = perturbation.change(hidden, random.Random(f"{perturbation.key}:{row}"))
    if changed == hidden:
        return None
    if any(changed.count(mark) != 1 for mark in kept):
        raise ValueError(f"the perturbation {perturbation.key} lost or doubled a placeholder")
    for mark, original in kept.items():
        changed = changed.replace(mark, original)
    return changed


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """The text of the last user message; None where there is none, or where it is more than text."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            return content if isinstance(content, str) else None
    return None


def with_last_user_text(messages: Sequence[Mapping[str, Any]], text: str) -> list[dict[str, Any]]:
    """The messages with another text in the last user message; everything else as it was."""
    copies = [dict(message) for message in messages]
    for message in reversed(copies):
        if message.get("role") == "user":
            message["content"] = text
            return copies
    return [*copies, {"role": "user", "content": text}]


def protected_spans(text: str, labels: Sequence[str]) -> list[tuple[int, int]]:
    """Where no perturbation may reach: placeholders, addresses, and labels where the text lists them."""
    spans = [match.span() for match in _KEPT.finditer(text)] + _listed_labels(text, labels)
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _hide(text: str, labels: Sequence[str]) -> tuple[str, dict[str, str]]:
    spans = protected_spans(text, labels)
    if not spans:
        return text, {}
    used = set(text)
    marks = (chr(code) for code in _HIDING if chr(code) not in used)
    pieces: list[str] = []
    kept: dict[str, str] = {}
    end_before = 0
    for start, end in spans:
        mark = next(marks)
        kept[mark] = text[start:end]
        pieces += [text[end_before:start], mark]
        end_before = end
    return "".join([*pieces, text[end_before:]]), kept


def _listed_labels(text: str, labels: Sequence[str]) -> list[tuple[int, int]]:
    """Labels count as listed where two different ones stand side by side, or each opens a line of its own."""
    pattern = _label_pattern(tuple(labels))
    if pattern is None:
        return []
    found = list(pattern.finditer(text))
    listed: set[int] = set()
    for number, (one, other) in enumerate(itertools.pairwise(found)):
        gap = text[one.end() : other.start()]
        if one.group() != other.group() and len(gap) <= _LONGEST_GAP and gap and _BETWEEN_LABELS.fullmatch(gap):
            listed |= {number, number + 1}
    opening = [
        number
        for number, match in enumerate(found)
        if _LINE_START.search(text[: match.start()]) and _LINE_REST.match(text[match.end() :])
    ]
    if len({found[number].group() for number in opening}) >= 2:
        listed |= set(opening)
    return [found[number].span() for number in sorted(listed)]


@lru_cache(maxsize=8)
def _label_pattern(labels: tuple[str, ...]) -> re.Pattern[str] | None:
    named = sorted({label.strip() for label in labels if label.strip()}, key=lambda label: (-len(label), label))
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, named)) + r")(?!\w)") if len(named) >= 2 else None
